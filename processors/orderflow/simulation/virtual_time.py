"""Virtual time: an event loop that never waits, and the clocks of the processes that live in it.

Where a real loop would sleep until its next timer, this one moves its time there at once. Nothing else moves it, so a
run depends on nothing but what is scheduled in it.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""What a right clock shows when a run begins."""


class Stalled(Exception):  # noqa: N818 - says what the run is
    """Nothing is left that could ever happen, and somebody is still waiting."""


class _Leaping:
    """Stands where a loop has its selector: instead of waiting for sockets, time passes."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> Sequence[object]:
        if timeout is None:
            raise Stalled("nothing is left to happen")
        self.now += max(timeout, 0.0)
        return ()

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time. It begins at 0.0 seconds, knows no sockets, and one thread alone may use it."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Leaping()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._selector.now

    def _process_events(self, event_list: Sequence[object]) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: no other thread has anything to say."""


class WallClock:
    """A process's clock: right unless ``offset`` seconds say otherwise."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.offset = 0.0

    def now(self) -> datetime:
        """Return what the clock shows, in UTC."""
        return START + timedelta(seconds=self._loop.time() + self.offset)

    def until(self, moment: datetime) -> float:
        """Return in how many seconds of virtual time the clock will show ``moment``."""
        return (moment - self.now()).total_seconds()
