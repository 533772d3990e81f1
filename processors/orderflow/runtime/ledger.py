"""The offset ledger: how far each partition has been recorded, and who is at work on it.

It is written in the transaction that records the decisions, by compare-and-set from the value last read. Whoever finds
another value has been replaced: a paused process that comes back cannot write over its successor.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from orderflow.runtime.schema import consumed_offsets as ledger

Partition = tuple[str, int]
"""A topic (without the prefix) and a partition's number."""


class Fenced(Exception):  # noqa: N818 - names what has happened to this process
    """Somebody else owns the partition now: give it up and write nothing more for it."""

    def __init__(self, partition: Partition) -> None:
        super().__init__(f"{partition[0]}[{partition[1]}] is owned by another process")
        self.partition = partition


@dataclass(frozen=True, slots=True)
class Entry:
    """One partition's row."""

    offset: int
    last_event_id: str
    owner: str | None


def read(connection: Connection, group: str, partitions: Iterable[Partition]) -> dict[Partition, Entry]:
    """Return the rows that are there."""
    wanted = sorted(set(partitions))
    if not wanted:
        return {}
    query = select(ledger.c.topic, ledger.c.partition, ledger.c.offset, ledger.c.last_event_id, ledger.c.owner).where(
        ledger.c.group == group,
        or_(*(and_(ledger.c.topic == topic, ledger.c.partition == number) for topic, number in wanted)),
    )
    return {(row[0], row[1]): Entry(row[2], row[3], row[4]) for row in connection.execute(query)}


def claim(
    connection: Connection, group: str, partitions: Iterable[Partition], owner: str, now: datetime
) -> dict[Partition, Entry]:
    """Make ``owner`` the one who may advance ``partitions``, and return how they stood before.

    An entry whose ``owner`` is not empty was left by a process that did not stop cleanly.
    """
    wanted = sorted(set(partitions))
    before = read(connection, group, wanted)
    for topic, number in wanted:
        if (topic, number) in before:
            connection.execute(
                ledger.update()
                .where(ledger.c.group == group, ledger.c.topic == topic, ledger.c.partition == number)
                .values(owner=owner, updated_at=now)
            )
        else:
            connection.execute(
                ledger.insert().values(
                    group=group, topic=topic, partition=number, offset=-1, last_event_id="", owner=owner, updated_at=now
                )
            )
            before[topic, number] = Entry(-1, "", None)
    return before


def release(connection: Connection, group: str, partitions: Iterable[Partition], owner: str) -> None:
    """Say that ``owner`` has stopped work on ``partitions`` cleanly."""
    for topic, number in sorted(set(partitions)):
        connection.execute(
            ledger.update()
            .where(
                ledger.c.group == group,
                ledger.c.topic == topic,
                ledger.c.partition == number,
                ledger.c.owner == owner,
            )
            .values(owner=None)
        )


def advance(
    connection: Connection,
    group: str,
    owner: str,
    steps: Mapping[Partition, tuple[int, int, str]],
    now: datetime,
) -> None:
    """Advance each partition from the offset last read to a new one: (from, to, event id at the new one).

    Raises:
        Fenced: a row is not as this process last saw it.
    """
    for (topic, number), (before, after, event_id) in sorted(steps.items()):
        changed = connection.execute(
            ledger.update()
            .where(
                ledger.c.group == group,
                ledger.c.topic == topic,
                ledger.c.partition == number,
                ledger.c.offset == before,
                ledger.c.owner == owner,
            )
            .values(offset=after, last_event_id=event_id, updated_at=now)
        ).rowcount
        if changed != 1:
            raise Fenced((topic, number))
