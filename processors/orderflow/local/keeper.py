"""The supervisor's end of the fork server."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orderflow.local.errors import LocalError, last_line_of
from orderflow.local.forkserver import command_line
from orderflow.local.protocol import (
    Command,
    Ended,
    Exec,
    Fork,
    Preload,
    Refused,
    Signal,
    Started,
    decode_report,
    encode,
)

PAUSE: Final = 1.0
"""Seconds before a fork server that was lost is replaced."""
PATIENCE: Final = 10.0


@dataclass
class _Running:
    started: Callable[[int], None]
    ended: asyncio.Future[int]


class Keeper:
    """Starts processes and tells of their end; a fork server that is lost is replaced.

    Args:
        preload: modules that every forked process needs.
        environment: of every process.
        lock: the descriptor of an open file that every process keeps open until its end.
        log: the fork server's own.
        say: told of what goes wrong.
    """

    def __init__(
        self,
        *,
        preload: Sequence[str],
        environment: Mapping[str, str],
        lock: int,
        log: Path,
        say: Callable[[str], None],
    ) -> None:
        self._preload = tuple(preload)
        self._preload_later: tuple[str, ...] = ()
        self._environment = dict(environment)
        self._lock = lock
        self._log = log
        self._say = say
        self._running: dict[str, _Running] = {}
        self._channel: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._proven = False
        self._closing = False

    async def serve(self) -> None:
        """Keep a fork server until :meth:`close`.

        Raises:
            LocalError: one ended before it had started anything, as its successors would.
        """
        while not self._closing:
            process, reader = await self._start()
            async for line in reader:
                self._take(line)
            self._connected.clear()
            await asyncio.to_thread(_wait, process)
            if not self._closing:
                await self._lost(process.pid)
            self._all_ended()

    async def run(self, start: Fork | Exec, started: Callable[[int], None]) -> int:
        """Start a process and return its exit status, or the negative number of the signal that ended it.

        Args:
            started: told its process id.
        """
        await self._connected.wait()
        running = _Running(started, asyncio.get_running_loop().create_future())
        self._running[start.name] = running
        self._send(start)
        return await running.ended

    async def preload_later(self, modules: Sequence[str]) -> None:
        """Import more, after what was asked for until now."""
        await self._connected.wait()
        self._preload_later = tuple(modules)
        self._send(Preload(modules=self._preload_later))

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that was started here, if it still is."""
        self._send(Signal(pid=pid, number=number))

    def close(self) -> None:
        """Let the fork server go, and with it every process that is left."""
        self._closing = True
        if self._channel is not None:
            self._channel.close()

    async def _lost(self, pid: int) -> None:
        if not self._proven:
            raise LocalError(f"no process can be started: {last_line_of(self._log)}")
        self._say(f"the fork server (pid {pid}) has ended, and every process with it; starting another")
        await asyncio.sleep(PAUSE)

    async def _start(self) -> tuple[subprocess.Popen[bytes], asyncio.StreamReader]:
        mine, theirs = socket.socketpair()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log, theirs:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - it is there in a millisecond, and is our own
                command_line(theirs.fileno()),
                pass_fds=(theirs.fileno(), self._lock),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                # Ctrl-C is for the supervisor alone, which then stops the others in order.
                start_new_session=True,
            )
        reader, self._channel = await asyncio.open_connection(sock=mine)
        self._send(Preload(modules=self._preload + self._preload_later))
        self._connected.set()
        return process, reader

    def _send(self, command: Command) -> None:
        if self._channel is not None:
            self._channel.write(encode(command))

    def _take(self, line: bytes) -> None:
        match decode_report(line):
            case Started(name=name, pid=pid):
                self._proven = True
                if name in self._running:
                    self._running[name].started(pid)
            case Ended(name=name, status=status):
                self._ended(name, status)
            case Refused(name="", reason=reason):
                self._say(reason)
            case Refused(name=name, reason=reason):
                self._say(f"{name} could not be started: {reason}")
                self._ended(name, 1)

    def _all_ended(self) -> None:
        for name in list(self._running):
            self._ended(name, -signal.SIGKILL)

    def _ended(self, name: str, status: int) -> None:
        running = self._running.pop(name, None)
        if running is not None and not running.ended.done():
            running.ended.set_result(status)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
