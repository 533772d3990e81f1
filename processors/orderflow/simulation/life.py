"""One life of a simulated process: it can be paused, and it can end at any moment without a word."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from orderflow.simulation.choices import Choices
from orderflow.simulation.virtual_time import WallClock

T = TypeVar("T")


class Killed(BaseException):
    """Ends what a process is doing in the middle of a function: no handler of the runtime's may survive it."""


async def never() -> None:
    """Wait for ever: what a killed process does until it is cleared away."""
    await asyncio.get_running_loop().create_future()


class Life:
    """What a process is to the simulation: a name, a clock, tasks of its own, and an end.

    Args:
        name: of the process, which outlives it: ``payment-0``.
        number: how many lives under that name there were before, and this one.

    Attributes:
        alive: whether it has not ended.
        has_stood_still: whether it was ever paused.
        stir: has the partitions dealt out anew, around it.
        at_end: called once when it ends, after its tasks were cancelled.
    """

    def __init__(self, name: str, number: int, choices: Choices, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.owner = f"{name}/{number}"
        self.clock = WallClock(loop)
        self.alive = True
        self.has_stood_still = False
        self.stir: Callable[[], None] = lambda: None
        self.at_end: list[Callable[[], None]] = []
        self._choices = choices
        self._loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self._many = 32
        self._going = asyncio.Event()
        self._going.set()

    def fault(self, point: str) -> str:
        """Return the fault that strikes this process at ``point`` now, if any."""
        return self._choices.fault(point, self.name)

    def span(self, what: str, least: float, most: float) -> float:
        """Return how long something takes this process."""
        return self._choices.span(what, self.name, least, most)

    def measure(self, what: str, least: float, most: float) -> float:
        """Return the size of a fault that strikes this process."""
        return self._choices.measure(what, self.name, least, most)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do ``work`` as this process: what it starts belongs to it too."""
        context = copy_context()
        context.run(LIVING.set, self)
        return self._loop.create_task(work, context=context)

    def own(self, task: "asyncio.Task[Any]") -> None:
        """Take note of a task of this process."""
        if len(self._tasks) >= self._many:
            # Now and then, and not with each task that ends: that would be a step of the loop each time.
            self._tasks = [task for task in self._tasks if not task.done()]
            self._many = 2 * len(self._tasks) + 32
        self._tasks.append(task)
        if not self.alive:
            task.cancel()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Stand still: nothing it does has an effect until it goes on."""
        self.has_stood_still = True
        self._going.clear()

    def resume(self) -> None:
        """Go on as if nothing had been."""
        self._going.set()

    async def gate(self) -> None:
        """Wait while the process stands still. What has an effect outside of it passes here first."""
        if not self.alive:
            raise asyncio.CancelledError
        if not self._going.is_set():
            await self._going.wait()
            if not self.alive:
                raise asyncio.CancelledError

    def end(self) -> None:
        """End without a word, as SIGKILL does. Whoever is in the middle of something goes no further."""
        if self.alive:
            self.alive = False
            # Not now: it may be in the middle of what called this.
            self._loop.call_soon(self._clear_away)

    def _clear_away(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        for tell in self.at_end:
            tell()


LIVING: ContextVar[Life | None] = ContextVar("LIVING", default=None)
"""Whose code is running."""


def task_factory(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], context: Any = None
) -> "asyncio.Task[T]":
    """Make a task that belongs to whoever starts it."""
    task = asyncio.Task(work, loop=loop, context=context)
    life = LIVING.get() if context is None else context.get(LIVING)
    if life is not None:
        life.own(task)
    return task
