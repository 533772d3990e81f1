"""The passing of time, as what waits for something sees it."""

import asyncio
import time
from typing import Protocol


class Pace(Protocol):
    """Time in seconds."""

    def now(self) -> float:
        """Return the time since some fixed moment."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and everybody else work."""


class RealPace:
    """The time of this machine."""

    def now(self) -> float:
        """See :class:`Pace`."""
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        """See :class:`Pace`."""
        await asyncio.sleep(seconds)
