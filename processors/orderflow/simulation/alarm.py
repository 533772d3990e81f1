"""Something to be looked at, at the earliest of the moments that were asked for."""

import asyncio


class Alarm:
    """Wakes one waiter at the earliest time asked for since it woke last."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._handle: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """Wake in ``seconds``, unless something earlier was asked for."""
        when = self._loop.time() + seconds
        if self._handle is not None:
            if self._handle.when() <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._event.set()

    async def wait(self) -> None:
        """Wait until it rings."""
        await self._event.wait()
        self._event.clear()
