"""The tables that every context's database has besides its own: what the runtime records.

Kept in step with ``runtime/migrations`` by a test.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from orderflow.runtime.columns import Moment, Serial

metadata = MetaData()

ID = String(64)
LONGEST_NAME: Final = 64
NAME = String(LONGEST_NAME)
TOPIC = String(200)


def owner_name(instance: str, run: UUID) -> str:
    """Return a name for one run of one process, as long as the columns that say whose work something is.

    Args:
        instance: the process's name. A pod's has up to 63 characters and differs from its siblings' at the end.
        run: told apart from every other.
    """
    mark = f"/{run.hex[:8]}"
    return instance[-(LONGEST_NAME - len(mark)) :] + mark


processed_events = Table(
    "processed_events",
    metadata,
    Column("group", NAME, primary_key=True),
    Column("event_id", String(200), primary_key=True),
    Column("event_type", NAME, nullable=False),
    Column("key", String(200), nullable=False),
    Column("hash", String(64), nullable=False, comment="SHA-256 of the bytes: one id, one content"),
    Column("status", NAME, nullable=False, comment="the decision's outcome; or parked; or dead"),
    Column("topic", TOPIC, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=True, comment="kept while parked, to be decided later"),
    Column("headers", Text, nullable=True),
    Column("processed_at", Moment, nullable=False),
    Index(
        "processed_events_parked",
        "key",
        sqlite_where=text("status = 'parked'"),
        postgresql_where=text("status = 'parked'"),
    ),
)

consumed_offsets = Table(
    "consumed_offsets",
    metadata,
    Column("group", NAME, primary_key=True),
    Column("topic", TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, nullable=False, comment="of the last message recorded"),
    Column("last_event_id", String(200), nullable=False, comment="of the message at that offset"),
    Column("owner", NAME, nullable=True, comment="who is at work on it; empty after a clean stop"),
    Column("updated_at", Moment, nullable=False),
)

message_attempts = Table(
    "message_attempts",
    metadata,
    Column("group", NAME, primary_key=True),
    Column("topic", TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("attempts", Integer, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("event_id", String(200), nullable=False, unique=True),
    Column("event_type", NAME, nullable=False),
    Column("topic", TOPIC, nullable=False),
    Column("key", String(200), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("published_at", Moment, nullable=True),
    Index(
        "outbox_unpublished",
        "key",
        "id",
        sqlite_where=text("published_at IS NULL"),
        postgresql_where=text("published_at IS NULL"),
    ),
    Index(
        "outbox_waiting",
        "created_at",
        sqlite_where=text("published_at IS NULL"),
        postgresql_where=text("published_at IS NULL"),
    ),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", ID, primary_key=True),
    Column("kind", NAME, nullable=False, comment="call or timer"),
    Column("key", String(200), nullable=False),
    Column("status", NAME, nullable=False, comment="open, done or ended"),
    Column("due_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("unclear", Boolean, nullable=False, comment="an attempt was lost: query before calling again"),
    Column("last_error", Text, nullable=True),
    Column("body", LargeBinary, nullable=False, comment="the Call or Timer as the decision gave it"),
    Column("cause", Text, nullable=False, comment="metadata and traceparent of the message that asked for it"),
    Column("horizon", Text, nullable=True, comment="end offsets of the reply topics, read after the timer came due"),
    Column("claimed_by", NAME, nullable=True),
    Column("claimed_until", Moment, nullable=True),
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=True),
    Index("tasks_due", "due_at", sqlite_where=text("status = 'open'"), postgresql_where=text("status = 'open'")),
    Index("tasks_of_key", "key"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("group", NAME, nullable=False),
    Column("topic", TOPIC, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("event_id", String(200), nullable=True),
    Column("event_type", NAME, nullable=True),
    Column("key", String(200), nullable=False),
    Column("cause", NAME, nullable=False, comment="undecodable, unknown-type, unknown-major, conflict, refused, ..."),
    Column("reason", Text, nullable=False),
    Column("stack_hash", NAME, nullable=True, comment="equal for failures at the same place in the code"),
    Column("raw", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("revision", NAME, nullable=False),
    Column("status", NAME, nullable=False, comment="open, superseded, replayed or discarded"),
    Column("created_at", Moment, nullable=False),
    Column("replays", Integer, nullable=False, server_default=text("0"), comment="how often a replay has failed"),
    Column("tried_at", Moment, nullable=True, comment="when it was last replayed, or let go"),
    Index("dead_letters_of_key", "key"),
    Index(
        "dead_letters_open",
        "created_at",
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
)

letter_requests = Table(
    "letter_requests",
    metadata,
    Column("letter_id", BigInteger, primary_key=True, autoincrement=False),
    Column("action", NAME, nullable=False, comment="replay or discard"),
    Column("forced", Boolean, nullable=False, comment="also out of quarantine"),
    Column("asked_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Moment, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, comment="how often a process has begun to carry it out"),
)

audit_trail = Table(
    "audit_trail",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False),
    Column("event_id", String(200), nullable=False, comment="of the message that caused it"),
    Column("event_type", NAME, nullable=False),
    Column("before", NAME, nullable=False),
    Column("after", NAME, nullable=False),
    Column("step", NAME, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("correlation_id", String(200), nullable=False),
    Column("occurred_at", Moment, nullable=False, comment="the message's own time"),
    Column("recorded_at", Moment, nullable=False),
    Column("actor", String(200), nullable=True, comment="whose act it was; empty for a decision"),
    Index("audit_trail_of_key", "key", "id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("group", NAME, nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("key", String(200), nullable=False),
    Column("message", LargeBinary, nullable=False, comment="as decided: decoded and prepared"),
    Column("state", LargeBinary, nullable=True, comment="the aggregate before; empty for none"),
    Column("shared", LargeBinary, nullable=False, comment="the shared rows the decision read"),
    Column("decision", LargeBinary, nullable=False),
    Column("revision", NAME, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Index("decisions_of_key", "key"),
)

allowed_revisions = Table(
    "allowed_revisions",
    metadata,
    Column("revision", NAME, primary_key=True),
    Column("since", Moment, nullable=False),
)

horizons = Table(
    "horizons",
    metadata,
    Column("table", NAME, primary_key=True, comment="whose old rows are dropped"),
    Column("until", Moment, nullable=False, comment="rows whose time is before may be gone"),
    Column("dropped", BigInteger, nullable=False, comment="how many rows, ever"),
)

replays = Table(
    "replays",
    metadata,
    Column("replay_id", ID, primary_key=True),
    Column("topic", TOPIC, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("since", Moment, nullable=True, comment="messages from then on; empty: from the first"),
    Column("until", Moment, nullable=True, comment="messages until then; empty: as far as the ledger"),
    Column("applies", Boolean, nullable=False, comment="whether messages that the inbox does not know are decided"),
    Column("rate", Integer, nullable=False, comment="messages per second at the most"),
    Column("status", NAME, nullable=False, comment="waiting, running, done, failed or cancelled"),
    Column("claimed_by", NAME, nullable=True),
    Column("claimed_until", Moment, nullable=True),
    Column("next_offset", BigInteger, nullable=True, comment="where it goes on; empty before it has begun"),
    Column("report", Text, nullable=False, comment="what was found so far, as JSON"),
    Column("requested_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index(
        "replays_open",
        "requested_at",
        sqlite_where=text("status IN ('waiting', 'running')"),
        postgresql_where=text("status IN ('waiting', 'running')"),
    ),
)
