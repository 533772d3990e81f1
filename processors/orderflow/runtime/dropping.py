"""Drops what has had its time, a few rows at a time: what :mod:`.retention` decides, done.

One process per context does it, the one that holds the anchor, as with the relay. It walks along each table in the
order of its key and begins again every few hours; no index is kept for it, so recording costs nothing more for being
dropped one day. What is busy is looked up before the transaction, which only writes the horizon and deletes: a message
that comes about one of the orders meanwhile finds what it would have found a moment later. Two processes that both
believe to hold the anchor delete the same rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    bindparam,
    case,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from orderflow.runtime.broker import Offsets
from orderflow.runtime.context import Context
from orderflow.runtime.database import assert_allowed, reading
from orderflow.runtime.dead_letters import OPEN as OPEN_LETTER
from orderflow.runtime.inbox import PARKED
from orderflow.runtime.incoming import NOWHERE
from orderflow.runtime.ledger import Partition
from orderflow.runtime.retention import Aged, Keeping, may_go
from orderflow.runtime.rows import UnknownStateVersion
from orderflow.runtime.schema import (
    audit_trail,
    consumed_offsets,
    dead_letters,
    decisions,
    horizons,
    outbox,
    processed_events,
    tasks,
)
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.statements import Statement
from orderflow.runtime.task_rows import OPEN as OPEN_TASK
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

EVERY = timedelta(hours=6)
"""From the beginning of one walk along all tables to the next: a row is dropped at most so much late, and one that
stays is looked at four times a day."""
AT_ONCE = 250
"""Rows looked at in one step: 4 ms of work beside the others', and as much of SQLite's write lock if all of them go."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One table that is dropped from.

    Attributes:
        id: the column along which it is walked.
        served_at: from when on a row has served.
        risen: a time that rises with ``id``: the first row that is too young ends the walk.
        whole: drop all rows of a key at once, or none.
    """

    table: Table
    id: Column[Any]
    served_at: Column[Any]
    risen: Column[Any] | None = None
    whole: bool = False


SHELVES: tuple[Shelf, ...] = (
    Shelf(processed_events, processed_events.c.event_id, processed_events.c.processed_at),
    Shelf(outbox, outbox.c.id, outbox.c.published_at, risen=outbox.c.created_at),
    Shelf(tasks, tasks.c.task_id, tasks.c.ended_at),
    Shelf(decisions, decisions.c.id, decisions.c.recorded_at, risen=decisions.c.recorded_at),
    Shelf(audit_trail, audit_trail.c.id, audit_trail.c.recorded_at, risen=audit_trail.c.recorded_at, whole=True),
)


@dataclass(slots=True)
class _Walk:
    """How far the walk has come."""

    began: datetime
    first: Mapping[Partition, int]
    shelves: list[Shelf] = field(default_factory=lambda: list(SHELVES))
    after: Any = None


class Dropper:
    """Drops old rows of one context's database.

    Args:
        looking: where rows are looked at; ``sql``, where the worker writes, is taken for the dropping alone.
    """

    def __init__(
        self, unit: UnitOfWork, looking: Sql, sql: Sql, offsets: Offsets, telemetry: Telemetry, *, keeping: Keeping
    ) -> None:
        self._context = unit.context
        self._engine = unit.engine
        self._clock = unit.clock
        self._revision = unit.revision
        self._looking = looking
        self._sql = sql
        self._offsets = offsets
        self._telemetry = telemetry
        self._keeping = keeping
        self._walk: _Walk | None = None
        self._next = unit.clock.now()

    async def step(self) -> int | None:
        """Look at the next few rows and drop what may go; return how many went, ``None`` between two walks.

        Raises:
            RevisionRemoved: this revision may not write any more.
            PublishFailed: the broker does not say what it holds; nothing was dropped.
            sqlalchemy.exc.SQLAlchemyError: the database is away; nothing was dropped.
        """
        if self._walk is None:
            now = self._clock.now()
            if now < self._next:
                return None
            self._walk = _Walk(now, await self._first_offsets())
            self._next = now + EVERY
        walk, shelf = self._walk, self._walk.shelves[0]
        until = walk.began - self._keeping.of(shelf.table.name)
        old, walk.after = await self._looking.run(self._look, walk, shelf, until)
        dropped = await self._sql.run(self._drop, shelf, old, until) if old else 0
        if dropped:
            log.info("old rows dropped", table=shelf.table.name, rows=dropped)
            self._telemetry.dropped.labels(shelf.table.name).inc(dropped)
        if walk.after is None:
            walk.shelves.pop(0)
        if not walk.shelves:
            self._walk = None
        return dropped

    async def _first_offsets(self) -> Mapping[Partition, int]:
        partitions = await self._looking.run(self._partitions)
        return await self._offsets.first_offsets(partitions) if partitions else {}

    def _partitions(self) -> list[Partition]:
        ledger = consumed_offsets.c
        query = select(ledger.topic, ledger.partition).where(ledger.group == self._context.name)
        with reading(self._engine) as connection:
            return sorted((topic, number) for topic, number in connection.execute(query))

    def _look(self, walk: _Walk, shelf: Shelf, until: datetime) -> tuple[dict[Any, Aged], Any]:
        """Return those of the next rows that may go, by their ids, and the id to go on from: ``None`` at the end."""
        with reading(self._engine) as connection:
            rows = connection.execute(_rows(shelf, self._context.name, walk.after)).mappings().all()
            aged = {row["id"]: _aged(row) for row in rows if shelf.risen is None or row["risen"] < until}
            old = self._old(connection, aged, until, walk.first)
        return old, rows[-1]["id"] if len(rows) == AT_ONCE == len(aged) else None

    def _drop(self, shelf: Shelf, old: Mapping[Any, Aged], until: datetime) -> int:
        with self._engine.begin() as connection:
            assert_allowed(connection, self._revision)
            dropped = _delete(connection, shelf, old, until)
            if dropped:
                _raise_horizon(connection, shelf.table.name, until, dropped)
        return dropped

    def _old(
        self, connection: Connection, aged: Mapping[Any, Aged], until: datetime, first: Mapping[Partition, int]
    ) -> dict[Any, Aged]:
        """Return those of the rows that may go."""
        old = {name: row for name, row in aged.items() if may_go(row, until=until, busy=(), first=first)}
        if not old:
            return old
        busy = busy_keys(connection, self._context, {row.key for row in old.values()})
        return {name: row for name, row in old.items() if may_go(row, until=until, busy=busy, first=first)}


def _rows(shelf: Shelf, group: str, after: Any) -> Any:
    columns: list[ColumnElement[Any]] = [
        shelf.id.label("id"),
        shelf.table.c.key.label("key"),
        shelf.served_at.label("served_at"),
    ]
    if shelf.risen is not None:
        columns.append(shelf.risen.label("risen"))
    if "offset" in shelf.table.c:
        columns += [shelf.table.c[name] for name in ("topic", "partition", "offset")]
    query = select(*columns).order_by(shelf.id).limit(AT_ONCE)
    if "group" in shelf.table.c:
        # Of one group alone; named because the inbox's key begins with it.
        query = query.where(shelf.table.c.group == group)
    return query if after is None else query.where(shelf.id > after)


def _aged(row: RowMapping) -> Aged:
    from_broker = row.get("partition", NOWHERE) != NOWHERE
    place = ((row["topic"], row["partition"]), row["offset"]) if from_broker else None
    return Aged(key=row["key"], served_at=row["served_at"], place=place)


def busy_keys(connection: Connection, context: Context[Any], keys: Iterable[str]) -> set[str]:
    """Return those of ``keys`` about which something is not over yet.

    An aggregate that lives, an open task, an open dead letter, a parked message, a message that is not published. What
    cannot be read is not over.
    """
    wanted = sorted(set(keys))
    busy = _alive(connection, context, wanted)
    for query in _NOT_OVER:
        busy.update(key for (key,) in query.rows(connection, {"keys": wanted}))
    return busy


def _of_keys(table: Table, still: ColumnElement[bool]) -> Statement:
    return Statement(select(table.c.key).where(table.c.key.in_(bindparam("keys", expanding=True)), still))


_NOT_OVER: tuple[Statement, ...] = (
    _of_keys(tasks, tasks.c.status == OPEN_TASK),
    _of_keys(dead_letters, dead_letters.c.status == OPEN_LETTER),
    # Spelt out, or SQLite would not take the index of what is parked and read the whole inbox.
    _of_keys(processed_events, processed_events.c.status == literal_column(f"'{PARKED}'")),
    _of_keys(outbox, outbox.c.published_at.is_(None)),
)


def _alive(connection: Connection, context: Context[Any], keys: Sequence[str]) -> set[str]:
    try:
        found = context.aggregate.load(connection, keys, lock=False)
    except UnknownStateVersion:
        return set(keys)
    return {key for key, row in found.items() if context.is_live(row.state)}


def _delete(connection: Connection, shelf: Shelf, old: Mapping[Any, Aged], until: datetime) -> int:
    of: tuple[ColumnElement[bool], ...] = (shelf.id.in_(list(old)),)
    if shelf.whole:
        # A key's rows may lie on both sides of where this step ends, and a new one may just have come.
        keys = sorted({row.key for row in old.values()})
        younger = shelf.table.alias()
        has_younger = select(younger.c.key).where(younger.c.key.in_(keys), younger.c[shelf.served_at.name] >= until)
        of = (shelf.table.c.key.in_(keys), shelf.table.c.key.not_in(has_younger))
    return connection.execute(shelf.table.delete().where(*of)).rowcount


def _raise_horizon(connection: Connection, table: str, until: datetime, dropped: int) -> None:
    """Write down that rows of ``table`` from before ``until`` may be gone; it never goes back."""
    insert: Callable[..., Any] = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(horizons).values(table=table, until=until, dropped=dropped)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[horizons.c.table],
            set_={
                "until": case((new.until > horizons.c.until, new.until), else_=horizons.c.until),
                "dropped": horizons.c.dropped + new.dropped,
            },
        )
    )


_HORIZONS = Statement(select(horizons.c.table, horizons.c.until, horizons.c.dropped).order_by(horizons.c.table))


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far dropping has come in a table: rows whose time is before ``until`` may be gone."""

    table: str
    until: datetime
    dropped: int


def horizons_of(connection: Connection) -> dict[str, Horizon]:
    """Return the horizon of each table from which something was dropped."""
    return {row[0]: Horizon(*row) for row in _HORIZONS.rows(connection, {})}
