"""One context's processes without their shell: the real runtime on a real database, moved on step by step.

A :class:`Site` is what processes share: a database file, a broker, a clock, providers. A :class:`Process` is all that a
worker is, but for Faust: :meth:`Process.fetch` delivers what Faust would, and everything else waits to be told.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, PoolProxiedConnection, Table, event, select

from harness.databases import spared
from harness.fakes import MemoryBroker, MemoryFetching, ScriptedProvider, StillClock
from harness.tally import NOON, TALLIES, TALLY, Tally
from orderflow.contracts.envelope import Message
from orderflow.runtime.context import Context
from orderflow.runtime.database import allow_revision, open_database, readers_of, reading
from orderflow.runtime.direct import Applied, Direct
from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition
from orderflow.runtime.letter_policy import DeadLetterRules
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.processor import Delivery, Processor
from orderflow.runtime.readmitting import Readmitting
from orderflow.runtime.relay import Relay
from orderflow.runtime.schema import allowed_revisions
from orderflow.runtime.schema import metadata as recorded
from orderflow.runtime.sql_thread import SqlThread
from orderflow.runtime.state_cache import MemoryTable, StateCache
from orderflow.runtime.tasks import TaskRunner
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork

REVISION = "r1"
PATIENCE = 10.0
"""Seconds until a test that waits for what never comes fails."""


class Killed(BaseException):
    """What a decision raises whose message kills the process: no handler of the runtime's may survive it."""


def make_database(file: Path) -> None:
    """Make the database of a small context in ``file``, with leave for :data:`REVISION`."""
    engine = open_database(f"sqlite:///{file}")
    recorded.create_all(engine)
    TALLY.tables.create_all(engine)
    with engine.begin() as connection:
        allow_revision(connection, REVISION, NOON)
    engine.dispose()


async def until(condition: Callable[[], Any]) -> None:
    """Return as soon as ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.001)


class Faults:
    """Makes an engine fail as a database does whose disk or server is gone.

    Attributes:
        on: told of each statement, whether it fails.
        on_commit: ``before`` or ``after`` the next commit took place, it fails.
        statements: what was executed, failed or not, and ``BEGIN`` where a transaction began that may write.
    """

    def __init__(self, engine: Engine) -> None:
        self.on: Callable[[str], bool] = lambda _statement: False
        self.on_commit: str | None = None
        self.statements: list[str] = []
        self.parameters: list[Any] = []
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self._do_commit  # type: ignore[method-assign]
        event.listen(engine, "begin", self._began)
        for each in {engine, readers_of(engine)}:
            event.listen(each, "do_connect", self._connect)

    def _connect(self, _dialect: object, _record: object, _args: object, settings: dict[str, Any]) -> None:
        settings["factory"] = _watched(self._do)

    def _do(self, statement: str, parameters: Any) -> None:
        if statement.startswith(("PRAGMA", "BEGIN")):
            return
        self.statements.append(statement)
        self.parameters.append(parameters)
        if self.on(statement):
            raise gone()

    def _began(self, _connection: Connection) -> None:
        self.statements.append("BEGIN")
        self.parameters.append(())

    def _do_commit(self, dbapi_connection: PoolProxiedConnection) -> None:
        failing, self.on_commit = self.on_commit, None
        if failing == "before":
            raise gone()
        self._commit(dbapi_connection)
        if failing == "after":
            raise gone()

    def after(self, statements: int) -> None:
        """Let that many statements through and fail ever after."""
        left = statements

        def fails(_statement: str) -> bool:
            nonlocal left
            left -= 1
            return left < 0

        self.on = fails

    def mend(self) -> None:
        """Fail no more."""
        self.on = lambda _statement: False


def _watched(tell: Callable[[str, Any], None]) -> type[sqlite3.Connection]:
    """Return a connection whose cursors tell of each statement before they run it."""

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, parameters: Any = ()) -> Self:
            tell(statement, parameters)
            return super().execute(statement, parameters)

        def executemany(self, statement: str, parameters: Any) -> Self:
            tell(statement, parameters)
            return super().executemany(statement, parameters)

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> sqlite3.Cursor:  # type: ignore[override]
            return super().cursor(Cursor)

    return Connection


def gone() -> sqlite3.OperationalError:
    """What the driver raises when the disk is away."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


class Process:
    """One process of a context: wired as a worker wires it."""

    def __init__(self, site: "Site", owner: str, context: Context[Any], revision: str) -> None:
        self.site = site
        self.owner = owner
        self.context = context
        self.engine = spared(open_database(f"sqlite:///{site.file}"))
        self.faults = Faults(self.engine)
        self.sql = SqlThread(owner)
        self.telemetry = Telemetry(context.name)
        self.fetching = MemoryFetching()
        self.table = MemoryTable()
        self.shown = MemoryTable()
        self.cache = StateCache(self.table, self.shown)
        self.outgoing = Outgoing(site.broker, self.engine, self.sql, site.clock, mark_after=0)
        self.relay = Relay(site.broker, self.engine, self.sql, site.clock, self.outgoing)
        self.unit = UnitOfWork(context, self.engine, owner=owner, revision=revision, clock=site.clock)
        self.tasks = TaskRunner(
            context,
            self.engine,
            self.sql,
            site.broker,
            site.providers,
            self.outgoing,
            site.clock,
            self.telemetry,
            owner=owner,
            revision=revision,
            partitions=site.broker.partitions,
        )
        self.processor = Processor(
            self.unit, self.engine, self.sql, self.cache, self.outgoing, self.tasks, site.broker, self.telemetry
        )
        self.processor.fetching = self.fetching
        self.readmitting = Readmitting(self.unit, DeadLetterRules(), self.processor, self.sql, self.telemetry)
        self._running: asyncio.Task[None] | None = None

    # Taking in

    async def join(self, *partitions: Partition) -> dict[Partition, int]:
        """Be assigned ``partitions``, all there are unless some are named; return where fetching starts."""
        wanted = partitions or [(topic, n) for topic in self.context.takes for n in range(self.site.broker.partitions)]
        start = await self.processor.assigned(wanted)
        self.fetching.at = dict(start)
        return start

    async def leave(self) -> None:
        """Have all partitions revoked."""
        await self.processor.revoked(list(self.processor.positions))

    async def fetch(self) -> None:
        """Deliver what the broker has beyond the fetch positions, as one batch, and wait until it is dealt with."""
        records: list[Record] = []
        for place, start in sorted(self.fetching.at.items()):
            if place not in self.fetching.paused:
                found = self.site.broker.records(place, start)
                records += found
                self.fetching.at[place] = found[-1].offset + 1 if found else start
        await self.deliver(*records)

    async def fetch_all(self) -> None:
        """Fetch until there is nothing to be fetched."""
        while any(self.site.broker.records(place, start) for place, start in self.fetching.at.items()):
            await self.fetch()

    async def take(self, *messages: Message) -> None:
        """Put messages on the broker and fetch."""
        for message in messages:
            self.site.broker.put(message)
        await self.fetch()

    async def deliver(self, *records: Record) -> None:
        """Deliver records and return when the processor has dealt with all of them.

        Raises:
            BaseException: what ended the processor.
        """
        if not records:
            return
        running = self.run()
        over = asyncio.Event()
        await self.processor.put(Delivery(records, over.set))
        waiting = asyncio.create_task(over.wait())
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if running.done():
            running.result()

    def run(self) -> "asyncio.Task[None]":
        """Have the processor running."""
        if self._running is None:
            self._running = asyncio.create_task(self.processor.run())
        return self._running

    async def settled_down(self) -> None:
        """Wait until nothing is known to be away."""
        # One step for the processor to find out.
        await asyncio.sleep(0)
        await until(lambda: not self.processor.away)

    # Putting out

    async def publish(self) -> None:
        """Start the fast path, and return when nothing is left for it to do."""
        await self.outgoing.start()
        await until(lambda: not self.outgoing.in_hand)

    async def settle(self, number: int = 1) -> None:
        """Wait until exactly so many tasks have come to an end or been given back, and record it."""
        await self.answered(number)
        assert await self.tasks.settle_once() == number

    async def answered(self, number: int) -> None:
        """Wait until exactly so many tasks have come to an end or been given back, none of which is recorded."""
        await until(lambda: len(self.tasks._settled) == number)

    # Looking

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Everything in ``table``, by its primary key."""
        with reading(self.engine) as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row) for row in found.mappings()]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """The content of the database, as the driver gives it."""
        tables = [*recorded.tables, *TALLY.tables.tables]
        with contextlib.closing(sqlite3.connect(self.site.file)) as driver:
            return {name: driver.execute(f"SELECT * FROM {name}").fetchall() for name in tables}

    def tally(self, order: str) -> Tally | None:
        """An order's aggregate as it is in the database."""
        with reading(self.engine) as connection:
            found = TALLIES.load(connection, [order], lock=False).get(order)
        return found.state if found is not None else None

    def seen(self, order: str) -> tuple[str, ...]:
        """The messages that were decided for an order, in order."""
        tally = self.tally(order)
        return tally.seen if tally is not None else ()

    def metric(self, name: str, **labels: str) -> float:
        """What a metric stands at."""
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0

    # Ending

    async def kill(self) -> None:
        """End without a word, as SIGKILL does: nothing is finished, signed off or freed."""
        mine = [self._running] if self._running is not None else []
        mine += self.outgoing._tasks
        for job in mine:
            job.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        self.sql.close()
        self.engine.dispose()


class Site:
    """What the processes of one context share."""

    def __init__(self, file: Path, partitions: int = 1) -> None:
        self.file = file
        self.clock = StillClock(NOON)
        self.broker = MemoryBroker(partitions)
        self.provider = ScriptedProvider()
        self.providers: dict[str, ScriptedProvider] = {"card": self.provider}
        self._processes: list[Process] = []

    def process(
        self, owner: str = "inventory-0/a", *, context: Context[Any] = TALLY, revision: str = REVISION
    ) -> Process:
        """Return a new process; it has joined nothing yet."""
        process = Process(self, owner, context, revision)
        self._processes.append(process)
        return process

    @property
    def lives(self) -> int:
        """How many processes there have been."""
        return len(self._processes)

    async def joined(self, owner: str = "inventory-0/a", *, context: Context[Any] = TALLY) -> Process:
        """Return a new process that has all partitions."""
        process = self.process(owner, context=context)
        await process.join()
        return process

    async def close(self) -> None:
        """Kill whoever is still there."""
        for process in self._processes:
            await process.kill()


class Api:
    """The other writer: decides messages at once, as the order API does."""

    def __init__(self, process: Process, revision: str = REVISION) -> None:
        self._engine = process.engine
        self._direct = Direct(process.context, process.site.clock, revision)

    def apply(self, message: Message) -> Applied:
        with self._engine.begin() as connection:
            return self._direct.apply(connection, message)


def remove_revision(process: Process, revision: str = REVISION) -> None:
    """Take away a revision's leave to write."""
    with process.engine.begin() as connection:
        connection.execute(allowed_revisions.delete().where(allowed_revisions.c.revision == revision))


def by(rows: Iterable[Mapping[str, Any]], key: str) -> dict[Any, Mapping[str, Any]]:
    """Rows by one of their columns."""
    return {row[key]: row for row in rows}


def column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """One column of all rows."""
    return [row[name] for row in rows]
