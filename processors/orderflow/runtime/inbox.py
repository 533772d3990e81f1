"""The inbox: which messages have been decided, and the ones that wait.

A message is known by its id and the hash of its bytes. The same id again is a copy and is dropped; the same id with
other bytes is somebody's mistake and becomes a dead letter.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, exists, literal, select

from orderflow.runtime.incoming import Incoming, Record, read
from orderflow.runtime.schema import dead_letters, message_attempts, processed_events
from orderflow.runtime.statements import Statement

PARKED = "parked"
DEAD = "dead"
SUPERSEDED = "superseded"
DISCARDED = "discarded"


_KNOWN = Statement(
    select(processed_events.c.event_id, processed_events.c.hash, processed_events.c.status).where(
        processed_events.c.group == bindparam("at_group"),
        processed_events.c.event_id.in_(bindparam("ids", expanding=True)),
    )
)
_INSERT = Statement(processed_events.insert())

_OF_PARTITION = (
    message_attempts.c.group == bindparam("at_group"),
    message_attempts.c.topic == bindparam("at_topic"),
    message_attempts.c.partition == bindparam("at_partition"),
)
_OF_RECORD = (*_OF_PARTITION, message_attempts.c.offset == bindparam("at_offset"))
_ATTEMPTS = Statement(select(message_attempts.c.attempts).where(*_OF_RECORD))
_ATTEMPT = Statement(
    message_attempts.update().where(*_OF_RECORD).values(attempts=message_attempts.c.attempts + literal(1))
)
_FIRST_ATTEMPT = Statement(
    message_attempts.insert().values(
        group=bindparam("at_group"),
        topic=bindparam("at_topic"),
        partition=bindparam("at_partition"),
        offset=bindparam("at_offset"),
        attempts=1,
    )
)
_FORGET_ALL = Statement(message_attempts.delete().where(*_OF_PARTITION))
_FORGET = Statement(message_attempts.delete().where(*_OF_PARTITION, message_attempts.c.offset < bindparam("before")))


@dataclass(frozen=True, slots=True)
class Known:
    """What the inbox holds of one event id."""

    digest: str
    status: str


def known(connection: Connection, group: str, event_ids: Iterable[str]) -> dict[str, Known]:
    """Return what is there of the given ids."""
    wanted = sorted(set(event_ids))
    if not wanted:
        return {}
    rows = _KNOWN.rows(connection, {"at_group": group, "ids": wanted})
    return {row[0]: Known(row[1], row[2]) for row in rows}


def row(incoming: Incoming, group: str, status: str, now: datetime, *, keep: bool = False) -> dict[str, Any]:
    """Return the row of a message; with ``keep`` its bytes stay, to be decided later."""
    record = incoming.record
    return {
        "group": group,
        "event_id": incoming.event_id,
        "event_type": incoming.event_type,
        "key": incoming.key,
        "hash": incoming.digest,
        "status": status,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "raw": record.raw if keep else None,
        "headers": msgspec.json.encode(record.headers).decode() if keep else None,
        "processed_at": now,
    }


def insert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows made by :func:`row`."""
    if rows:
        _INSERT.run_each(connection, rows)


def parked(connection: Connection, group: str, key: str) -> list[Incoming]:
    """Return the messages that wait behind a dead letter of ``key``, in the order of their arrival."""
    table = processed_events
    query = (
        select(table.c.topic, table.c.partition, table.c.offset, table.c.key, table.c.raw, table.c.headers)
        .where(table.c.group == group, table.c.key == key, table.c.status == PARKED)
        .order_by(table.c.processed_at, table.c.topic, table.c.partition, table.c.offset)
    )
    return [
        read(Record(*row[:5], headers=msgspec.json.decode(row[5], type=dict[str, str])))
        for row in connection.execute(query)
    ]


def resettle(connection: Connection, group: str, event_id: str, before: str, after: str) -> bool:
    """Give a message that waited or was dead its outcome, and let go of its bytes; tell whether it stood so."""
    table = processed_events
    changed = connection.execute(
        table.update()
        .where(table.c.group == group, table.c.event_id == event_id, table.c.status == before)
        .values(status=after, raw=None, headers=None)
    )
    return changed.rowcount == 1


def left_behind(connection: Connection, group: str, partitions: Collection[tuple[str, int]]) -> list[Incoming]:
    """Return, of each key whose messages are parked and that no open letter stops, the first of them.

    Only where that came by one of ``partitions``.
    """
    table = processed_events
    is_stopped = exists().where(
        dead_letters.c.group == table.c.group, dead_letters.c.key == table.c.key, dead_letters.c.status == "open"
    )
    # Not by group: asked for it, SQLite reads all rows of the group instead of the index of the few that are parked.
    found = connection.execute(
        select(table.c.group, table.c.key).where(table.c.status == PARKED, ~is_stopped).distinct()
    ).all()
    firsts = [parked(connection, group, key)[0] for of, key in sorted(map(tuple, found)) if of == group]
    return [first for first in firsts if (first.record.topic, first.record.partition) in partitions]


def supersede(connection: Connection, group: str, key: str) -> None:
    """Let a compensation take the place of what was parked for ``key``."""
    connection.execute(
        processed_events.update()
        .where(
            processed_events.c.group == group,
            processed_events.c.key == key,
            processed_events.c.status == PARKED,
        )
        .values(status=SUPERSEDED, raw=None, headers=None)
    )


def begin_attempt(connection: Connection, group: str, record: Record) -> int:
    """Record that ``record`` is about to be decided, and return how often it was begun before.

    The attempts of the partition's earlier records have served their purpose and are forgotten.
    """
    forget_attempts(connection, group, (record.topic, record.partition), before=record.offset)
    at = {
        "at_group": group,
        "at_topic": record.topic,
        "at_partition": record.partition,
        "at_offset": record.offset,
    }
    if _ATTEMPT.run(connection, at) == 0:
        _FIRST_ATTEMPT.run(connection, at)
        return 0
    return int(_ATTEMPTS.rows(connection, at)[0][0]) - 1


def forget_attempts(connection: Connection, group: str, partition: tuple[str, int], before: int | None = None) -> None:
    """Forget the attempts of a partition's records, of those before offset ``before`` if one is given."""
    at = {"at_group": group, "at_topic": partition[0], "at_partition": partition[1]}
    if before is None:
        _FORGET_ALL.run(connection, at)
    else:
        _FORGET.run(connection, {**at, "before": before})
