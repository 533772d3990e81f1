"""The offset ledger: how far each partition has been recorded, and who is at work on it.

It is written in the transaction that records the decisions, by compare-and-set from the value last read. Whoever finds
another value has been replaced: a paused process that comes back cannot write over its successor.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from orderflow.runtime.schema import consumed_offsets as ledger
from orderflow.runtime.statements import Statement

Partition = tuple[str, int]
"""A topic (without the prefix) and a partition's number."""


_PARTITION = (
    ledger.c.group == bindparam("at_group"),
    ledger.c.topic == bindparam("at_topic"),
    ledger.c.partition == bindparam("at_partition"),
)
# Built once: building a statement costs as much as running it.
_READ = Statement(
    select(ledger.c.topic, ledger.c.partition, ledger.c.offset, ledger.c.last_event_id, ledger.c.owner).where(
        ledger.c.group == bindparam("at_group"),
        ledger.c.topic.in_(bindparam("topics", expanding=True)),
        ledger.c.partition.in_(bindparam("numbers", expanding=True)),
    )
)
_CLAIM = Statement(ledger.update().where(*_PARTITION).values(owner=bindparam("to_owner"), updated_at=bindparam("now")))
_BEGIN = Statement(ledger.insert())
_OWNER = select(ledger.c.owner).where(*_PARTITION).with_for_update()
_RELEASE = Statement(ledger.update().where(*_PARTITION, ledger.c.owner == bindparam("at_owner")).values(owner=None))
_ADVANCE = Statement(
    ledger.update()
    .where(*_PARTITION, ledger.c.offset == bindparam("at_offset"), ledger.c.owner == bindparam("at_owner"))
    .values(offset=bindparam("to_offset"), last_event_id=bindparam("to_event_id"), updated_at=bindparam("now"))
)


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
    wanted = set(partitions)
    if not wanted:
        return {}
    topics, numbers = ({place[part] for place in wanted} for part in (0, 1))
    rows = _READ.rows(connection, {"at_group": group, "topics": sorted(topics), "numbers": sorted(numbers)})
    return {(row[0], row[1]): Entry(row[2], row[3], row[4]) for row in rows if (row[0], row[1]) in wanted}


def claim(
    connection: Connection, group: str, partitions: Iterable[Partition], owner: str, now: datetime
) -> dict[Partition, Entry]:
    """Make ``owner`` the one who may advance ``partitions``, and return how they stood before.

    An entry whose ``owner`` is not empty was left by a process that did not stop cleanly.
    """
    wanted = sorted(set(partitions))
    before = read(connection, group, wanted)
    known = [{**_at(group, place), "to_owner": owner, "now": now} for place in wanted if place in before]
    if known:
        _CLAIM.run_each(connection, known)
    begin = {"group": group, "offset": -1, "last_event_id": "", "owner": owner, "updated_at": now}
    new = [{**begin, "topic": topic, "partition": number} for topic, number in wanted if (topic, number) not in before]
    if new:
        _BEGIN.run_each(connection, new)
    return {place: before.get(place, Entry(-1, "", None)) for place in wanted}


def assert_owner(connection: Connection, group: str, partition: Partition, owner: str) -> None:
    """Make sure that ``owner`` has the partition, and keeps it until this transaction ends.

    Raises:
        Fenced: somebody else has it.
    """
    if connection.scalar(_OWNER, _at(group, partition)) != owner:
        raise Fenced(partition)


def _at(group: str, partition: Partition) -> dict[str, str | int]:
    return {"at_group": group, "at_topic": partition[0], "at_partition": partition[1]}


def release(connection: Connection, group: str, partitions: Iterable[Partition], owner: str) -> None:
    """Say that ``owner`` has stopped work on ``partitions`` cleanly."""
    mine = sorted(set(partitions))
    if mine:
        _RELEASE.run_each(connection, [{**_at(group, partition), "at_owner": owner} for partition in mine])


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
    for partition, (before, after, event_id) in sorted(steps.items()):
        to = {"to_offset": after, "to_event_id": event_id, "now": now}
        at = {**_at(group, partition), "at_offset": before, "at_owner": owner}
        if _ADVANCE.run(connection, {**at, **to}) != 1:
            raise Fenced(partition)
