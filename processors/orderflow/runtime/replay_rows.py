"""Requests for a replay, as rows of the context's database: one per partition, each taken up by the partition's owner.

A row is asked for by ``orderflow replay`` and changed by compare-and-set alone: whoever has claimed it notes how far it
has come, until it is done, has failed, or was cancelled by the one who asked. A worker that ends leaves the row; its
claim runs out, and the partition's next owner goes on from what was noted.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, literal_column, or_, select, tuple_

from orderflow.runtime.ledger import Partition
from orderflow.runtime.replay_report import PartReport
from orderflow.runtime.schema import replays

WAITING = "waiting"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
OPEN = frozenset({WAITING, RUNNING})

LEASE = timedelta(seconds=15)
"""How long a claim lasts from one note to the next; notes come every second."""


class Part(msgspec.Struct, kw_only=True):
    """One partition of a replay."""

    replay_id: str
    topic: str
    partition: int
    since: datetime | None
    until: datetime | None
    applies: bool
    rate: int
    status: str
    next_offset: int | None
    report: PartReport

    @property
    def place(self) -> Partition:
        """The topic and the partition's number."""
        return self.topic, self.partition


# Spelt out, or SQLite would not take the index of what is open.
_IS_OPEN = replays.c.status.in_([literal_column(f"'{WAITING}'"), literal_column(f"'{RUNNING}'")])
_COLUMNS = tuple(replays.c[name] for name in Part.__struct_fields__)
_reports = msgspec.json.Decoder(PartReport)


def ask(
    connection: Connection,
    replay_id: str,
    places: Collection[Partition],
    *,
    since: datetime | None,
    until: datetime | None,
    applies: bool,
    rate: int,
    now: datetime,
) -> None:
    """Ask for a replay of ``places``, each by its owner."""
    shared = {"since": since, "until": until, "applies": applies, "rate": rate, "requested_at": now, "updated_at": now}
    report = msgspec.json.encode(PartReport()).decode()
    connection.execute(
        replays.insert(),
        [
            {"replay_id": replay_id, "topic": topic, "partition": number, "status": WAITING, "report": report, **shared}
            for topic, number in sorted(places)
        ],
    )


def parts_of(connection: Connection, replay_id: str) -> list[Part]:
    """Return every part of a replay, in order."""
    query = select(*_COLUMNS).where(replays.c.replay_id == replay_id).order_by(replays.c.topic, replays.c.partition)
    return [_part(row) for row in connection.execute(query)]


def anything_open(connection: Connection) -> bool:
    """Tell whether any part waits or is under way, without writing anything."""
    return connection.execute(select(replays.c.replay_id).where(_IS_OPEN).limit(1)).first() is not None


def claim(connection: Connection, mine: Collection[Partition], owner: str, now: datetime) -> Part | None:
    """Take up the oldest open part of the caller's own partitions that nobody else is at work on."""
    free = or_(
        replays.c.status == WAITING,
        and_(replays.c.status == RUNNING, or_(replays.c.claimed_by == owner, replays.c.claimed_until < now)),
    )
    is_mine = tuple_(replays.c.topic, replays.c.partition).in_(sorted(mine))
    query = select(*_COLUMNS).where(_IS_OPEN, free, is_mine)
    row = connection.execute(query.order_by(replays.c.requested_at, replays.c.topic, replays.c.partition)).first()
    if row is None:
        return None
    part = _part(row)
    values = {"status": RUNNING, "claimed_by": owner, "claimed_until": now + LEASE, "updated_at": now}
    taken = connection.execute(replays.update().where(*_this(part), free).values(values)).rowcount
    return part if taken == 1 else None


def note(connection: Connection, part: Part, owner: str, now: datetime, status: str = RUNNING) -> bool:
    """Write down how far the part has come; tell whether it is still the caller's to go on with."""
    values = {
        "status": status,
        "claimed_by": owner if status == RUNNING else None,
        "claimed_until": now + LEASE if status == RUNNING else None,
        "next_offset": part.next_offset,
        "report": msgspec.json.encode(part.report).decode(),
        "updated_at": now,
    }
    still_mine = (*_this(part), replays.c.status == RUNNING, replays.c.claimed_by == owner)
    return connection.execute(replays.update().where(*still_mine).values(values)).rowcount == 1


def cancel(connection: Connection, replay_id: str, now: datetime) -> int:
    """End what of the replay is not over; return how many parts that were."""
    wanted = replays.update().where(replays.c.replay_id == replay_id, _IS_OPEN)
    return connection.execute(wanted.values(status=CANCELLED, claimed_by=None, updated_at=now)).rowcount


def _this(part: Part) -> tuple[ColumnElement[bool], ...]:
    return (
        replays.c.replay_id == part.replay_id,
        replays.c.topic == part.topic,
        replays.c.partition == part.partition,
    )


def _part(row: Sequence[object]) -> Part:
    values = dict(zip(Part.__struct_fields__, row, strict=True))
    return msgspec.convert({**values, "report": _reports.decode(str(values["report"]))}, Part)
