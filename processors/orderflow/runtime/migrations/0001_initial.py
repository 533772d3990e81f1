"""What the runtime records: inbox, positions, outbox, tasks, dead letters, audit trail, decisions, revisions."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment, Serial

revision = "runtime_0001"
down_revision = None
branch_labels = ("runtime",)
depends_on = None

TABLES = (
    "processed_events",
    "consumed_offsets",
    "message_attempts",
    "outbox",
    "tasks",
    "dead_letters",
    "audit_trail",
    "decisions",
    "allowed_revisions",
)


def upgrade() -> None:
    _create_what_is_taken_in()
    _create_what_goes_out()
    _create_what_went_wrong()
    _create_what_was_decided()
    op.create_table(
        "allowed_revisions",
        sa.Column("revision", sa.String(64), primary_key=True),
        sa.Column("since", Moment, nullable=False),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _index_where(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _create_what_is_taken_in() -> None:
    op.create_table(
        "processed_events",
        sa.Column("group", sa.String(64), primary_key=True),
        sa.Column("event_id", sa.String(200), primary_key=True),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, comment="SHA-256 of the bytes: one id, one content"),
        sa.Column("status", sa.String(64), nullable=False, comment="the decision's outcome; or parked; or dead"),
        sa.Column("topic", sa.String(200), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=True, comment="kept while parked, to be decided later"),
        sa.Column("headers", sa.Text, nullable=True),
        sa.Column("processed_at", Moment, nullable=False),
    )
    _index_where("processed_events_parked", "processed_events", ["key"], "status = 'parked'")
    op.create_table(
        "consumed_offsets",
        sa.Column("group", sa.String(64), primary_key=True),
        sa.Column("topic", sa.String(200), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, nullable=False, comment="of the last message recorded"),
        sa.Column("last_event_id", sa.String(200), nullable=False, comment="of the message at that offset"),
        sa.Column("owner", sa.String(64), nullable=True, comment="who is at work on it; empty after a clean stop"),
        sa.Column("updated_at", Moment, nullable=False),
    )
    op.create_table(
        "message_attempts",
        sa.Column("group", sa.String(64), primary_key=True),
        sa.Column("topic", sa.String(200), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
    )


def _create_what_goes_out() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(200), nullable=False, unique=True),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("topic", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("published_at", Moment, nullable=True),
    )
    _index_where("outbox_unpublished", "outbox", ["key", "id"], "published_at IS NULL")
    _index_where("outbox_waiting", "outbox", ["created_at"], "published_at IS NULL")
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False, comment="call or timer"),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("status", sa.String(64), nullable=False, comment="open, done or ended"),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("unclear", sa.Boolean, nullable=False, comment="an attempt was lost: query before calling again"),
        sa.Column("last_error", sa.Text, nullable=True),
        sa.Column("body", sa.LargeBinary, nullable=False, comment="the Call or Timer as the decision gave it"),
        sa.Column(
            "cause", sa.Text, nullable=False, comment="metadata and traceparent of the message that asked for it"
        ),
        sa.Column(
            "horizon", sa.Text, nullable=True, comment="end offsets of the reply topics, read after the timer came due"
        ),
        sa.Column("claimed_by", sa.String(64), nullable=True),
        sa.Column("claimed_until", Moment, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
    )
    _index_where("tasks_due", "tasks", ["due_at"], "status = 'open'")
    op.create_index("tasks_of_key", "tasks", ["key"])


def _create_what_went_wrong() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("group", sa.String(64), nullable=False),
        sa.Column("topic", sa.String(200), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.String(200), nullable=True),
        sa.Column("event_type", sa.String(64), nullable=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column(
            "cause",
            sa.String(64),
            nullable=False,
            comment="undecodable, unknown-type, unknown-major, conflict, refused, ...",
        ),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column(
            "stack_hash", sa.String(64), nullable=True, comment="equal for failures at the same place in the code"
        ),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("status", sa.String(64), nullable=False, comment="open, superseded, replayed or discarded"),
        sa.Column("created_at", Moment, nullable=False),
    )
    op.create_index("dead_letters_of_key", "dead_letters", ["key"])


def _create_what_was_decided() -> None:
    op.create_table(
        "audit_trail",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False, comment="of the message that caused it"),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("before", sa.String(64), nullable=False),
        sa.Column("after", sa.String(64), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.String(200), nullable=False),
        sa.Column("occurred_at", Moment, nullable=False, comment="the message's own time"),
        sa.Column("recorded_at", Moment, nullable=False),
    )
    op.create_index("audit_trail_of_key", "audit_trail", ["key", "id"])
    op.create_table(
        "decisions",
        sa.Column("id", Serial, primary_key=True, autoincrement=True),
        sa.Column("group", sa.String(64), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False, comment="as decided: decoded and prepared"),
        sa.Column("state", sa.LargeBinary, nullable=True, comment="the aggregate before; empty for none"),
        sa.Column("shared", sa.LargeBinary, nullable=False, comment="the shared rows the decision read"),
        sa.Column("decision", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("recorded_at", Moment, nullable=False),
    )
    op.create_index("decisions_of_key", "decisions", ["key"])
