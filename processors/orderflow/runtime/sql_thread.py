"""The one thread in which a process does its SQL.

SQLAlchemy Core is synchronous, and one writer at a time is what SQLite wants and PostgreSQL does not mind: a batch is
one transaction however many messages it has.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class SqlThread:
    """Runs synchronous functions one after another, off the event loop."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-sql")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``function`` after whatever was asked for before, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Wait for what is running and end the thread."""
        self._executor.shutdown(wait=True)
