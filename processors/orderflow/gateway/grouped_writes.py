"""Writes to SQLite that share a transaction: whatever is asked for while the lock is awaited is done with it in hand.

The order's processor holds the lock for a good part of the time. Requests that took turns at it would each wait for a
transaction of the processor's; together they wait for one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orderflow.runtime.database import LOOK_AGAIN, is_infrastructure_failure, is_locked, without_waiting
from orderflow.runtime.precedence import Precedence
from orderflow.runtime.statements import run_text

T = TypeVar("T")

AT_ONCE: Final = 20
"""Requests in one transaction: some 30 ms of the lock."""


class Locked(Exception):  # noqa: N818 - names a state of a row
    """Somebody else has held the row for as long as a request waits for it.

    On SQLite, whose lock is on the whole database, whoever writes holds every row.
    """


@dataclass(slots=True)
class _Asked:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]
    until: float


class GroupedWrites:
    """Does pieces of work on one SQLite database, several in a transaction."""

    def __init__(self, engine: Engine, precedence: Precedence) -> None:
        self._engine = engine
        self._precedence = precedence
        self._asked: list[_Asked] = []
        self._serving: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Connection], T], patience: float) -> T:
        """Return what ``work`` returns, once that is committed; what it raises is passed on, nothing written.

        Args:
            patience: seconds for which the lock is waited for.

        Raises:
            Locked: the lock did not come free.
            sqlalchemy.exc.SQLAlchemyError: the store failed, and with it all that shared the transaction.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(work, done, time.monotonic() + patience))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await done

    async def _serve(self) -> None:
        while self._asked:
            if not self._serve_some():
                await self._go_first()

    async def _go_first(self) -> None:
        with self._precedence.claimed():
            while self._asked:
                await asyncio.sleep(LOOK_AGAIN)
                if self._serve_some():
                    return
                now = time.monotonic()
                late = [asked for asked in self._asked if asked.until < now]
                self._asked = [asked for asked in self._asked if asked.until >= now]
                _fail(late, Locked("another writer has the database"))

    def _serve_some(self) -> bool:
        """Do what has been asked for, as far as one transaction goes; tell whether the lock could be had."""
        with without_waiting(), self._engine.connect() as connection:
            try:
                transaction = connection.begin()
            except DBAPIError as error:
                if is_locked(error):
                    return False
                _fail(self._taken(), error)
                return True
            taken = self._taken()
            try:
                outcomes = [_outcome(connection, asked.work, alone=len(taken) == 1) for asked in taken]
                transaction.commit()
            except Exception as error:  # whatever ended the transaction ended all that was in it
                transaction.rollback()
                _fail(taken, error)
                return True
        for asked, (result, failure) in zip(taken, outcomes, strict=True):
            if asked.done.done():
                continue
            if failure is not None:
                asked.done.set_exception(failure)
            else:
                asked.done.set_result(result)
        return True

    def _taken(self) -> list[_Asked]:
        taken, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
        return [asked for asked in taken if not asked.done.done()]


def _outcome(connection: Connection, work: Callable[[Connection], Any], *, alone: bool) -> tuple[Any, Exception | None]:
    """Return what ``work`` returns, or what it raises and has undone."""
    if alone:
        return work(connection), None
    run_text(connection, "SAVEPOINT one")
    try:
        result, failure = work(connection), None
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and is_infrastructure_failure(error):
            raise
        run_text(connection, "ROLLBACK TO SAVEPOINT one")
        result, failure = None, error
    run_text(connection, "RELEASE SAVEPOINT one")
    return result, failure


def _fail(asked: list[_Asked], error: Exception) -> None:
    for one in asked:
        if not one.done.done():
            one.done.set_exception(error)
