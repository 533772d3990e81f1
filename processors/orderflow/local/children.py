"""One supervised process: kept running, and watched."""

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orderflow.local.errors import LocalError, last_line_of
from orderflow.local.health import Health, health_of, takes_connections
from orderflow.local.keeper import Keeper
from orderflow.local.processes import Process
from orderflow.local.restarts import Restarts
from orderflow.local.state import ProcessStatus, State

SOON: Final = 0.2
"""Seconds between looks at a process that is not ready."""
LATER: Final = 2.0
"""Seconds between looks at one that is."""
LIFELESS: Final = 30.0
"""Seconds without a sign of life until a process is ended, to be started again."""
ATTEMPTS: Final = 3
"""A process that ends so often in a row without ever having been ready will not become so."""
REMOVED: Final = 78
"""Exit status of a processor whose revision may not write any more: starting it again does not help."""


class Child:
    """One process of the system.

    Args:
        say: told, in a line, what happens to it.
        changed: told that :attr:`status` has changed.
    """

    def __init__(
        self, process: Process, keeper: Keeper, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self._keeper = keeper
        self._say = say
        self._changed = changed
        self._state: State = "starting"
        self._pid: int | None = None
        self._restarts = Restarts()
        self._started_at: datetime | None = None
        self._started = self._lived = time.monotonic()
        self._detail = ""
        self._lag: int | None = None
        self._proven = False
        self._stopping = asyncio.Event()

    @property
    def status(self) -> ProcessStatus:
        """How it is."""
        return ProcessStatus(
            name=self.process.name,
            kind=self.process.kind,
            state=self._state,
            ready=self._state == "ready",
            pid=self._pid,
            port=self.process.port,
            restarts=self._restarts.total,
            started_at=self._started_at,
            lag=self._lag,
            detail=self._detail,
        )

    async def keep(self) -> None:
        """Run it, again and again, until it is stopped.

        Raises:
            LocalError: it cannot be started.
        """
        while not self._stopping.is_set():
            status = await self._keeper.run(self.process.start, self._runs)
            self._ended(status)
            if status == REMOVED:
                return
            await self._pause()

    async def watch(self) -> None:
        """Look after its health until cancelled."""
        ask = takes_connections if self.process.kind == "broker" else health_of
        while True:
            pid = self._pid
            if pid is not None:
                health = await ask(self.process.host, self.process.port)
                # It may be another process by now.
                if pid == self._pid:
                    self._heard(health)
            await asyncio.sleep(LATER if self._state == "ready" else SOON)

    def stop(self) -> None:
        """Ask it to finish what it does, and do not start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._pid is not None:
            self._keeper.signal(self._pid, number)

    def _runs(self, pid: int) -> None:
        self._pid = pid
        self._started = self._lived = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._state, self._detail = "starting", ""
        self._changed()
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)

    def _heard(self, health: Health) -> None:
        if health.live:
            self._lived = time.monotonic()
        if health.ready and not self.ready.is_set():
            self._say(f"{self.process.name} is ready (pid {self._pid})")
            self._proven = True
            self.ready.set()
        if not health.ready and self._state == "ready":
            self._say(f"{self.process.name} is not ready: {health.detail or 'it does not answer'}")
            self.ready.clear()
        before = self.status
        if self._state != "starting" or health.ready:
            self._state = "ready" if health.ready else "unready"
        self._detail, self._lag = health.detail, health.lag
        if self.status != before:
            self._changed()
        if time.monotonic() - self._lived > LIFELESS:
            self._say(f"{self.process.name} (pid {self._pid}) has given no sign of life for {LIFELESS:g} s: ending it")
            self._lived = time.monotonic()
            self.kill()

    def _ended(self, status: int) -> None:
        self._pid, self._lag, self._state = None, None, "stopped"
        self.ready.clear()
        if not self._stopping.is_set():
            self._detail = self._why(status)
            if status != REMOVED:
                self._restarts = self._restarts.after(time.monotonic() - self._started)
                self._state = "waiting"
            self._say(f"{self.process.name} has ended: {self._detail}")
        self._changed()

    async def _pause(self) -> None:
        if self._stopping.is_set():
            return
        if not self._proven and self._restarts.in_a_row >= ATTEMPTS:
            raise LocalError(f"{self.process.name} does not start: {self._detail}")
        try:
            await asyncio.wait_for(self._stopping.wait(), self._restarts.delay)
        except TimeoutError:
            return

    def _why(self, status: int) -> str:
        if status < 0:
            return f"signal {signal.Signals(-status).name}"
        if status == REMOVED:
            return "its revision may not write any more"
        if status == 0:
            return "exit status 0"
        return f"exit status {status}: {last_line_of(Path(self.process.start.log))}"
