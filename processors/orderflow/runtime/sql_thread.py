"""Where a process does its SQL: one piece of work after another, in the order in which it was asked for.

SQLAlchemy Core is synchronous, and one writer at a time is what SQLite wants and PostgreSQL does not mind: a batch is
one transaction however many messages it has. Waiting for PostgreSQL happens in a thread. SQLite answers within the
process, in a millisecond or two: a thread would cost as much as its work, and would have to fetch Python's one lock
back from the event loop after each statement, which made a transaction of two messages last 15 ms under load.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from orderflow.runtime.database import LOCK_PATIENCE_MS, LOOK_AGAIN, is_locked, without_waiting
from orderflow.runtime.precedence import Precedence, precedence_at

LOOKS = 4
"""How often it is looked, before a turn, whether whoever goes first has had his: as long as one of his takes."""

P = ParamSpec("P")
R = TypeVar("R")


class Sql(Protocol):
    """Runs synchronous functions one after another."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``function`` after whatever was asked for before, and return its result."""

    def close(self) -> None:
        """Wait for what is running, and take nothing any more."""


def sql_for(engine: Engine, name: str) -> Sql:
    """Return where a process called ``name`` is to do its SQL, and let others go first where it matters."""
    return SqlOnLoop(precedence_at(engine)) if engine.dialect.name == "sqlite" else SqlThread(name)


class SqlThread:
    """Runs functions in one thread, off the event loop."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-sql")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :class:`Sql`."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))

    def close(self) -> None:
        """See :class:`Sql`."""
        self._executor.shutdown(wait=True)


class SqlOnLoop:
    """Runs functions on the event loop, which goes on while another process has SQLite's lock.

    A function whose transaction could not begin is run again from its start: nothing of it has happened.
    """

    def __init__(self, precedence: Precedence | None = None) -> None:
        self._turn = asyncio.Lock()
        self._precedence = precedence

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See :class:`Sql`.

        Raises:
            sqlalchemy.exc.OperationalError: another process has kept the lock for too long.
        """
        async with self._turn:
            await self._let_others_go_first()
            deadline = time.monotonic() + LOCK_PATIENCE_MS / 1000
            while True:
                try:
                    with without_waiting():
                        return function(*args, **kwargs)
                except OperationalError as error:
                    if not is_locked(error) or time.monotonic() > deadline:
                        raise
                await asyncio.sleep(LOOK_AGAIN)

    async def _let_others_go_first(self) -> None:
        for _ in range(LOOKS):
            if self._precedence is None or not self._precedence.is_claimed():
                return
            await asyncio.sleep(LOOK_AGAIN)

    def close(self) -> None:
        """See :class:`Sql`."""
        if self._precedence is not None:
            self._precedence.close()
