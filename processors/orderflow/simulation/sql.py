"""SQL of a simulated process: done inline, in its turn, with everything that can befall a process around it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from orderflow.simulation.life import Killed, never

if TYPE_CHECKING:
    from orderflow.simulation.life import Life

P = ParamSpec("P")
R = TypeVar("R")

LEAST, MOST = 0.001, 0.004
"""Virtual seconds that a transaction takes."""
BETWEEN = 1e-6
"""Keeps apart what would end at the same moment: a process's transactions have an order."""


class InlineSql:
    """Runs a process's synchronous functions one after another, each at one moment of virtual time.

    Before and after that moment the process can be paused, and at each commit it can die.
    """

    def __init__(self, life: "Life", observe: Callable[[object, BaseException | None], None]) -> None:
        self._life = life
        self._observe = observe
        self._free_at = 0.0

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``function`` after whatever was asked for before, and return its result."""
        life = self._life
        await self._turn()
        await life.gate()
        try:
            result = function(*args, **kwargs)
        except Killed:
            await never()
            raise
        except BaseException as error:
            self._observe(function, error)
            raise
        if not life.alive:
            # It died with its last commit: nobody is left to learn of it.
            await never()
        self._observe(result, None)
        await asyncio.sleep(0)
        await life.gate()
        return result

    async def _turn(self) -> None:
        loop, life = asyncio.get_running_loop(), self._life
        begins = max(loop.time(), self._free_at)
        takes = life.span("sql", LEAST, MOST)
        if fault := life.fault("sql"):
            takes = life.measure("slow-sql", 0.2, 8.0)
            if fault == "slow-amid-rebalance":
                life.stir()
        self._free_at = begins + takes + BETWEEN
        await asyncio.sleep(self._free_at - loop.time())

    def close(self) -> None:
        """Do nothing: there is no thread."""
