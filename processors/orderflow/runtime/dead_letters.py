"""Dead letters: messages that cannot be decided, kept whole with the reason, until somebody looks.

The transaction that gives up on a message stores it here and puts a copy on the topic's ``-dlq`` through the outbox.
Personal data is masked in the copy and in the reason; the stored bytes are the original, for the replay.
"""

import hashlib
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, bindparam, select

from orderflow.contracts.identity import derive
from orderflow.contracts.masking import masked
from orderflow.contracts.topics import dead_letter_topic
from orderflow.runtime import outbox
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.schema import dead_letters
from orderflow.runtime.statements import Statement

OPEN = "open"
SUPERSEDED = "superseded"


_STOPPED = Statement(
    select(dead_letters.c.key).where(
        dead_letters.c.group == bindparam("at_group"),
        dead_letters.c.status == OPEN,
        dead_letters.c.key.in_(bindparam("keys", expanding=True)),
    )
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a message cannot be decided.

    ``cause`` groups alike letters: undecodable, unknown-type, unknown-major, invalid, conflict, refused,
    decide-failed, data-error, kills-the-process.
    """

    cause: str
    reason: str
    stack_hash: str | None = None


def verdict_of(error: Exception, cause: str) -> Verdict:
    """Return the verdict on a message whose decision or record raised ``error``.

    The reason names the error's type and place and leaves out its text, which may quote the message.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.name}" for frame in frames]
    digest = hashlib.sha256("|".join([type(error).__name__, *places]).encode()).hexdigest()[:16]
    # Which statement it was says the one who ran it.
    asking = [place for place in places if not place.startswith("statements.py:")]
    return Verdict(cause, f"{type(error).__name__} at {asking[-1] if asking else 'an unknown place'}", digest)


def bury(
    connection: Connection, group: str, revision: str, letters: Sequence[tuple[Incoming, Verdict]], now: datetime
) -> tuple[OutboxRow, ...]:
    """Store dead letters and return the copies that go to the dead-letter topics.

    A record that was buried before, and is read again because its topic was started over, is left as it lies.
    """
    copies = []
    for incoming, verdict in letters:
        record = incoming.record
        copy = _copy(incoming, verdict, group)
        if outbox.holds(connection, copy.event_id):
            continue
        connection.execute(
            dead_letters.insert().values(
                group=group,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                event_id=incoming.event_id,
                event_type=incoming.event_type,
                key=incoming.key,
                cause=verdict.cause,
                reason=verdict.reason,
                stack_hash=verdict.stack_hash,
                raw=record.raw,
                headers=msgspec.json.encode(record.headers).decode(),
                revision=revision,
                status=OPEN,
                created_at=now,
            )
        )
        copies.append(copy)
    return outbox.insert_rows(connection, copies, now) if copies else ()


def _copy(incoming: Incoming, verdict: Verdict, group: str) -> OutboxRow:
    record = incoming.record
    origin = f"{record.topic}[{record.partition}]@{record.offset}"
    headers = {
        **{name: value for name, value in record.headers.items() if name.startswith(("ce_", "trace"))},
        "dlq_cause": verdict.cause,
        "dlq_reason": verdict.reason,
        "dlq_origin": origin,
        "dlq_group": group,
        "dlq_stack_hash": verdict.stack_hash or "",
        "dlq_event_id": incoming.event_id,
    }
    return OutboxRow(
        event_id=derive(incoming.event_id, "dead-letter", group, origin, incoming.digest),
        event_type="DeadLetter",
        topic=dead_letter_topic(record.topic),
        key=incoming.key,
        payload=masked(record.raw),
        headers=headers,
    )


def stopped_keys(connection: Connection, group: str, keys: Iterable[str]) -> set[str]:
    """Return those of ``keys`` that have an open dead letter: what follows for them parks."""
    wanted = sorted({key for key in keys if key})
    if not wanted:
        return set()
    return {row[0] for row in _STOPPED.rows(connection, {"at_group": group, "keys": wanted})}


def supersede(connection: Connection, group: str, key: str) -> None:
    """Let a compensation take the place of the requests of ``key`` that could not be decided."""
    connection.execute(
        dead_letters.update()
        .where(dead_letters.c.group == group, dead_letters.c.key == key, dead_letters.c.status == OPEN)
        .values(status=SUPERSEDED)
    )
