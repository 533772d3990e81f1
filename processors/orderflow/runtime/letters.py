"""Dead letters that somebody wants replayed or discarded: the letters, and the requests about them.

A request is a row that anybody may write; it is carried out by the process that owns the letter's partition
(:mod:`.readmission`), and by nobody else. A letter has one request at a time, and every change of a letter is a
compare-and-set on its being open: whoever comes second finds nothing to do.

A letter whose replay has failed so often that nobody believes in it any more is in quarantine: it stays open, its order
stays stopped, and only a request that is forced, by name, tries it again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, case, delete, exists, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from orderflow.runtime.acts import Act, Behalf, note
from orderflow.runtime.dead_letters import OPEN, Verdict
from orderflow.runtime.inbox import PARKED
from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition
from orderflow.runtime.schema import dead_letters, letter_requests, processed_events

REPLAYED: Final = "replayed"
DISCARDED: Final = "discarded"
SUBJECT: Final = "dead-letter"
LEFT_BEHIND: Final = Verdict("left-behind", "it was parked, and the letter in front of it is gone")
"""Of a parked message that takes the place of the letter that it waited behind."""

Action = Literal["replay", "discard"]
Answer = Literal["asked", "asked-before", "not-open", "quarantined"]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, with its bytes. ``replays`` counts those that have failed."""

    id: int
    record: Record
    event_id: str
    event_type: str
    key: str
    cause: str
    reason: str
    stack_hash: str | None
    revision: str
    status: str
    created_at: datetime
    replays: int
    tried_at: datetime | None


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of a letter, and how often a process has begun to carry it out."""

    letter_id: int
    action: Action
    behalf: Behalf
    partition: Partition
    attempts: int


def letter_of(row: Any) -> Letter:
    """Return a row of ``dead_letters`` as a letter."""
    headers = msgspec.json.decode(row.headers, type=dict[str, str])
    return Letter(
        id=row.id,
        record=Record(row.topic, row.partition, row.offset, row.key, bytes(row.raw), headers),
        event_id=row.event_id or "",
        event_type=row.event_type or "",
        key=row.key,
        cause=row.cause,
        reason=row.reason,
        stack_hash=row.stack_hash,
        revision=row.revision,
        status=row.status,
        created_at=row.created_at,
        replays=row.replays,
        tried_at=row.tried_at,
    )


# Asking


def ask(
    connection: Connection,
    letter_id: int,
    action: Action,
    behalf: Behalf,
    *,
    due_at: datetime,
    now: datetime,
    quarantine_after: int,
    forced: bool = False,
) -> Answer:
    """Ask the owner of the letter's partition to replay or discard it, not before ``due_at``, and note the act.

    Args:
        quarantine_after: how many failed replays put a letter into quarantine.
        forced: also out of quarantine.
    """
    letter = lock(connection, letter_id)
    if letter is None or letter.status != OPEN:
        return "not-open"
    if action == "replay" and letter.replays >= quarantine_after and not forced:
        return "quarantined"
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    asked = connection.execute(
        insert(letter_requests)
        .values(
            letter_id=letter_id,
            action=action,
            forced=forced,
            asked_by=behalf.actor,
            reason=behalf.reason,
            asked_at=now,
            due_at=due_at,
            attempts=0,
        )
        .on_conflict_do_nothing()
        # Not the row count: PostgreSQL's driver does not tell it of an insertion.
        .returning(letter_requests.c.letter_id)
    ).first()
    if asked is None:
        return "asked-before"
    note(connection, behalf.actor, [act_on(letter, OPEN, f"{action} asked for", behalf.reason)], now)
    return "asked"


def act_on(letter: Letter, before: str, after: str, detail: str) -> Act:
    """Return the line of the audit trail for something done to ``letter``."""
    return Act(
        key=letter.key,
        event_id=letter.event_id,
        event_type=letter.event_type,
        subject=SUBJECT,
        before=before,
        after=after,
        detail=detail,
        attempt=letter.replays + 1,
    )


# Carrying out

_ANY = select(exists(select(letter_requests.c.letter_id)))
"""Looked at every second, and nearly always without a finding."""


def due(
    connection: Connection, group: str, partitions: Collection[Partition], now: datetime, limit: int
) -> list[Request]:
    """Return requests that are due and whose letters came by ``partitions``, in the order in which to see to them."""
    if not partitions or not connection.scalar(_ANY):
        return []
    of, letter = letter_requests.c, dead_letters.c
    rows = connection.execute(
        select(of.letter_id, of.action, of.asked_by, of.reason, letter.topic, letter.partition, of.attempts)
        .join_from(letter_requests, dead_letters, of.letter_id == letter.id)
        .where(letter.group == group, of.due_at <= now)
        .where(tuple_(letter.topic, letter.partition).in_(sorted(partitions)))
        .order_by(of.due_at, of.letter_id)
        .limit(limit)
    )
    return [Request(row[0], row[1], Behalf(row[2], row[3]), (row[4], row[5]), row[6]) for row in rows]


def begin(connection: Connection, letter_id: int) -> None:
    """Record that a process begins to carry the request out: whether it survives that is not known yet."""
    attempts = letter_requests.c.attempts
    connection.execute(
        letter_requests.update().where(letter_requests.c.letter_id == letter_id).values(attempts=attempts + 1)
    )


def take(connection: Connection, letter_id: int) -> bool:
    """Remove the request, as it is carried out now; tell whether it was still there."""
    return connection.execute(delete(letter_requests).where(letter_requests.c.letter_id == letter_id)).rowcount == 1


def lock(connection: Connection, letter_id: int) -> Letter | None:
    """Return the letter, and let nobody else change it until the commit."""
    row = connection.execute(select(dead_letters).where(dead_letters.c.id == letter_id).with_for_update()).first()
    return letter_of(row) if row is not None else None


def close(connection: Connection, letter_id: int, status: str, now: datetime) -> bool:
    """Let an open letter be replayed or discarded; tell whether it was open."""
    changed = connection.execute(
        dead_letters.update()
        .where(dead_letters.c.id == letter_id, dead_letters.c.status == OPEN)
        .values(status=status, tried_at=now)
    )
    return changed.rowcount == 1


def failed(connection: Connection, letter_id: int, verdict: Verdict, revision: str, now: datetime) -> None:
    """Record that a replay has failed, and why: the reason of today's code takes the place of yesterday's."""
    connection.execute(
        dead_letters.update()
        .where(dead_letters.c.id == letter_id, dead_letters.c.status == OPEN)
        .values(
            cause=verdict.cause,
            reason=verdict.reason,
            stack_hash=verdict.stack_hash,
            revision=revision,
            replays=dead_letters.c.replays + 1,
            tried_at=now,
        )
    )


def first_open(connection: Connection, group: str, key: str) -> int | None:
    """Return the oldest open letter of ``key``; for no key none, as it stops nobody."""
    if not key:
        return None
    query = select(func.min(dead_letters.c.id)).where(
        dead_letters.c.group == group, dead_letters.c.key == key, dead_letters.c.status == OPEN
    )
    found: int | None = connection.scalar(query)
    return found


def of_record(connection: Connection, group: str, record: Record) -> int | None:
    """Return the id of the open letter that was made of ``record``."""
    letter = dead_letters.c
    place = (letter.topic == record.topic, letter.partition == record.partition, letter.offset == record.offset)
    query = select(func.max(letter.id)).where(letter.group == group, *place, letter.status == OPEN)
    found: int | None = connection.scalar(query)
    return found


class Standing(NamedTuple):
    """How many letters of a context are open, how many of them in quarantine, and how many messages wait behind."""

    open: int
    quarantined: int
    parked: int


def standing(connection: Connection, quarantine_after: int) -> Standing:
    """Count what waits for somebody to look."""
    letter = dead_letters.c
    is_out = case((letter.replays >= quarantine_after, 1), else_=0)
    found = connection.execute(select(func.count(), func.sum(is_out)).where(letter.status == OPEN)).one()
    parked = connection.scalar(
        select(func.count()).select_from(processed_events).where(processed_events.c.status == PARKED)
    )
    return Standing(found[0], found[1] or 0, parked or 0)
