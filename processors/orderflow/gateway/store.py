"""The order database as a request sees it: short transactions, bounded waits, bounded retries.

SQLite takes one writer at a time and is done in a millisecond: its writes take turns on the event loop. PostgreSQL is
waited for in threads, and so are the reads of both, which may be long. What fails for the store's sake is tried again a
few times and then becomes :class:`StoreUnavailable`; what fails for the request's sake (a refusal) goes straight
through.
"""

import asyncio
import contextvars
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError

from orderflow.runtime.database import (
    LOOK_AGAIN,
    is_infrastructure_failure,
    is_locked,
    open_database,
    reading,
    without_waiting,
)
from orderflow.runtime.precedence import precedence_at
from orderflow.runtime.rows import StaleState

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOCK_PATIENCE: Final = 1.0
"""Seconds that a statement waits for a lock: as long as a repeated request waits for the first one."""

RETRIES: Final = 3
BACKOFF: Final = 0.05
"""Seconds before the first retry, doubled for each further one, each drawn between half and all of it."""

QUEUE_PATIENCE: Final = 3.0
"""Seconds that work may wait for its thread. Whoever waits longer is told to come back rather than kept in line."""

RETRY_AFTER: Final = 1
"""Seconds after which it is worth asking again."""


class StoreUnavailable(Exception):  # noqa: N818 - names a state of the store
    """The store has failed every attempt, or is too far behind to make one. Nothing is known to be stored."""


class Locked(Exception):  # noqa: N818 - names a state of a row
    """Somebody else has held the row for as long as a request waits for it.

    On SQLite, whose lock is on the whole database, whoever writes holds every row.
    """


class Store:
    """Runs work on one database.

    Args:
        url: of the database, with ``durability`` as :func:`~orderflow.runtime.database.open_database` takes it.
        writers: threads that write to PostgreSQL.
        readers: threads that read.

    Attributes:
        locks_rows: whether a lock that does not come free is that of a row, or (SQLite) anybody's on everything.
        engine: for whoever else works on this database in this process, with the usual patience.
    """

    def __init__(self, url: str, durability: str = "normal", *, writers: int = 4, readers: int = 2) -> None:
        self.engine = open_database(url, durability)
        self._writing = open_database(url, durability)
        _bound_lock_waits(self._writing)
        self.locks_rows = self.engine.dialect.name != "sqlite"
        self._writers = ThreadPoolExecutor(writers, "write")
        self._turn = asyncio.Lock()
        self._precedence = None if self.locks_rows else precedence_at(self.engine)
        self._readers = ThreadPoolExecutor(readers, "read")

    async def write(self, work: Callable[[Connection, int], T], *, wait_for_locks: bool = True) -> T:
        """Return what ``work`` returns, done in one transaction; it is told how often it was tried before.

        A commit whose acknowledgement was lost may have happened: ``work`` looks for its own traces when it is
        tried again.

        Args:
            wait_for_locks: whether a lock that did not come free is tried for again; otherwise it ends in ``Locked``.

        Raises:
            StoreUnavailable: the store has failed every attempt.
            Locked: see ``wait_for_locks``.
            Exception: what ``work`` raises, rolled back.
        """
        for attempt in range(RETRIES + 1):
            if attempt:
                await asyncio.sleep(BACKOFF * 2 ** (attempt - 1) * random.uniform(0.5, 1))
            try:
                if self.locks_rows:
                    return await self._run(self._writers, partial(self._transact, work, attempt))
                return await self._in_turn(partial(self._transact, work, attempt))
            except Locked as error:
                if not wait_for_locks:
                    raise
                log.warning("waited in vain for a lock", attempt=attempt + 1, error=str(error))
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("store failed", attempt=attempt + 1, error=_summary(error))
        raise StoreUnavailable(f"the store failed {RETRIES + 1} times")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, which sees one snapshot.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        try:
            return await self._run(self._readers, partial(self._look, work))
        except Exception as error:
            if not is_infrastructure_failure(error):
                raise
            log.warning("store failed", error=_summary(error))
            raise StoreUnavailable("the store does not answer") from error

    async def _in_turn(self, job: Callable[[], T]) -> T:
        """Run ``job`` here as soon as SQLite's lock is free.

        Whoever has queued behind others that waited for the lock has waited as well: the patience is the same for all.
        """
        queued = time.monotonic()
        async with self._turn:
            _assert_in_time(queued)
            try:
                with without_waiting():
                    return job()
            except Locked:
                return await self._going_first(job, queued + LOCK_PATIENCE)

    async def _going_first(self, job: Callable[[], T], deadline: float) -> T:
        assert self._precedence is not None
        with self._precedence.claimed():
            while True:
                await asyncio.sleep(LOOK_AGAIN)
                try:
                    with without_waiting():
                        return job()
                except Locked:
                    if time.monotonic() > deadline:
                        raise

    async def _run(self, threads: ThreadPoolExecutor, job: Callable[[], T]) -> T:
        queued = time.monotonic()
        context = contextvars.copy_context()

        def start() -> T:
            _assert_in_time(queued)
            return context.run(job)

        return await asyncio.get_running_loop().run_in_executor(threads, start)

    def _transact(self, work: Callable[[Connection, int], T], attempt: int) -> T:
        with self._begun() as connection:
            return work(connection, attempt)

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """Give a connection in a transaction, which SQLite begins with its lock in hand."""
        with self._writing.connect() as connection:
            try:
                transaction = connection.begin()
            except DBAPIError as error:
                if not is_locked(error):
                    raise
                raise Locked("another writer has the database") from error
            with transaction:
                yield connection

    def _look(self, work: Callable[[Connection], T]) -> T:
        with reading(self.engine) as connection:
            return work(connection)

    def close(self) -> None:
        """Finish what is at work and let go of the database."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._writing.dispose()
        if self._precedence is not None:
            self._precedence.close()
        self.engine.dispose()


def _assert_in_time(queued: float) -> None:
    if time.monotonic() - queued > QUEUE_PATIENCE:
        raise StoreUnavailable(f"work waited more than {QUEUE_PATIENCE:g} s for its turn")


def _bound_lock_waits(engine: Engine) -> None:
    """Let PostgreSQL wait for a lock no longer than the patience; SQLite is told with each transaction."""
    if engine.dialect.name != "postgresql":
        return

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {int(LOCK_PATIENCE * 1000)}")
        cursor.close()
        connection.commit()  # what PostgreSQL is told in a transaction that is rolled back it forgets


def is_transient(error: BaseException) -> bool:
    """Tell whether the same work may succeed when it is done again."""
    # A row that has moved on, or has just appeared, is read anew.
    return isinstance(error, StaleState | IntegrityError) or is_infrastructure_failure(error)


def _summary(error: BaseException) -> str:
    """Return what failed without the statement's parameters, which hold what people have sent."""
    orig = getattr(error, "orig", None)
    return f"{type(error).__name__}: {orig or ''}".partition("\n")[0]
