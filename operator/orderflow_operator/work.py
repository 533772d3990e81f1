"""The queue of resources to look at: each once, however often it is asked for, and later each time it fails.

A resource that is asked for while it is being looked at is looked at once more afterwards. So whatever is lost,
repeated or comes in another order, the last look sees the last state.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 120.0
"""Seconds between two tries of what keeps failing: seldom enough for hundreds of them, soon enough for a person."""

SPREAD: Final = 0.2
"""The share by which waits differ, so that what failed together is not tried again together."""


class Work(Generic[T]):
    """Keys that are due, now or later."""

    def __init__(self, *, jitter: random.Random | None = None) -> None:
        self._jitter = jitter or random.Random()
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._busy: set[T] = set()
        self._again: dict[T, float] = {}
        self._failures: dict[T, int] = {}
        self._not_before: dict[T, float] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: T, after: float = 0.0) -> None:
        """Ask for a key to be looked at after so many seconds; sooner counts, but what has failed waits its time."""
        at = max(asyncio.get_running_loop().time() + after, self._not_before.get(key, 0.0))
        wanted = self._again if key in self._busy else self._due
        if key in wanted and wanted[key] <= at:
            return
        wanted[key] = at
        if wanted is self._due:
            self._push(key, at)

    async def next(self) -> T:
        """Return the key that is due, when one is; until :meth:`done` nobody else gets it."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wait = None
            while self._heap:
                at, _, key = self._heap[0]
                if self._due.get(key) != at:
                    heapq.heappop(self._heap)
                elif at <= loop.time():
                    heapq.heappop(self._heap)
                    del self._due[key]
                    self._busy.add(key)
                    return key
                else:
                    wait = at - loop.time()
                    break
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def done(self, key: T, *, failed: bool = False, after: float | None = None, longest: float = LONGEST_WAIT) -> None:
        """Give a key back. One that failed comes again by itself; another one does after ``after`` seconds, if any.

        Args:
            longest: what one that failed waits at the most, in seconds.
        """
        self._busy.discard(key)
        again = self._again.pop(key, None)
        if failed:
            self._failures[key] = self._failures.get(key, 0) + 1
            # What is asked for meanwhile waits, too: events about a failing resource are no reason to hurry.
            self._not_before[key] = asyncio.get_running_loop().time() + self._wait(self._failures[key], longest)
            self.add(key)
            return
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if again is not None:
            self.add(key, max(0.0, again - asyncio.get_running_loop().time()))
        if after is not None:
            self.add(key, after)

    def _wait(self, failures: int, longest: float) -> float:
        wait = min(longest, FIRST_WAIT * 2.0 ** min(failures - 1, 20))
        return wait * (1 + self._jitter.uniform(-SPREAD, SPREAD))

    def _push(self, key: T, at: float) -> None:
        heapq.heappush(self._heap, (at, next(self._order), key))
        self._changed.set()
