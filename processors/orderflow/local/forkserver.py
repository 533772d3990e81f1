"""The process that every process of a system is a child of.

Importing what a processor needs takes some three seconds of CPU. This process does it once, and forks: a dozen
processes are there in a moment and share the memory of the code. It has one thread and no event loop, so a fork is a
clean copy, and it does nothing else: it is told what to start over a socket, and tells what has ended.

Nobody outlives it. If the supervisor goes, however it does, the socket closes and this process ends its children; if
this process is killed, the kernel ends them.
"""

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from orderflow.local import title
from orderflow.local.lifeline import end_with_parent
from orderflow.local.protocol import (
    Command,
    Ended,
    Exec,
    Fork,
    Preload,
    Refused,
    Report,
    Signal,
    Started,
    decode_command,
    encode,
)

FAREWELL: Final = 5.0
"""Seconds that the children have to end by themselves when the supervisor is gone."""


class ForkServer:
    """Starts processes as ``channel`` says, until it closes."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._unread = b""
        self._waiting: deque[Fork | str] = deque()
        self._children: dict[int, str] = {}
        self._leaving = False
        self._wakeup, wakeup_end = socket.socketpair()
        wakeup_end.setblocking(False)
        self._wakeup_end = wakeup_end
        signal.set_wakeup_fd(wakeup_end.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._leave)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def serve(self) -> Fork | None:
        """Serve until there is nobody left to serve.

        It returns more than once: in each forked process with what that is to do, and in this one with ``None``. So a
        forked process runs with nothing of the server on its stack, and ends as any Python program does.
        """
        while self._listen():
            if self._waiting:
                task = self._do(self._waiting.popleft())
                if task is not None:
                    return task
            self._reap()
        self._end_children()
        return None

    def _leave(self, *_: object) -> None:
        self._leaving = True

    def _listen(self) -> bool:
        """Take in what is there to be read, waiting for it only if there is nothing to do; tell whether to go on."""
        for key, _ in self._selector.select(0 if self._waiting else None):
            if key.fileobj is self._wakeup:
                self._wakeup.recv(4096)
                continue
            data = self._channel.recv(65_536)
            if not data:
                return False
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                self._take(decode_command(line))
        return not self._leaving

    def _take(self, command: Command) -> None:
        match command:
            case Exec():
                # Needs nothing of what is being imported.
                self._exec(command)
            case Signal():
                if command.pid in self._children:
                    os.kill(command.pid, command.number)
            case Fork():
                self._waiting.append(command)
            case Preload():
                self._waiting.extend(command.modules)

    def _do(self, waiting: Fork | str) -> Fork | None:
        if isinstance(waiting, Fork):
            return waiting if self._forked(waiting) else None
        try:
            importlib.import_module(waiting)
        except Exception as error:
            self._tell(Refused(reason=f"{waiting} cannot be imported: {type(error).__name__}: {error}"))
        if threading.active_count() > 1:
            self._tell(Refused(reason=f"{waiting} starts a thread when it is imported, which a fork would lose"))
        return None

    def _exec(self, command: Exec) -> None:
        if self._forked(command):
            try:
                os.execvp(command.command[0], command.command)  # noqa: S606 - no shell, our own command
            except OSError as error:
                os.write(2, f"{command.command[0]} cannot be run: {error.strerror}\n".encode())
                os._exit(127)

    def _forked(self, command: Fork | Exec) -> bool:
        """Fork; tell whether this is the new process."""
        # What is there now stays: counting references to it would copy the pages it shares with its siblings.
        gc.freeze()
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Refused(name=command.name, reason=error.strerror or "fork failed"))
            return False
        if pid:
            self._children[pid] = command.name
            self._tell(Started(name=command.name, pid=pid))
            return False
        end_with_parent(server)
        self._let_go()
        _redirect(command.log)
        return True

    def _let_go(self) -> None:
        """Give up, in a new process, all that is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._selector.close()
        for end in (self._channel, self._wakeup, self._wakeup_end):
            end.close()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._tell(Ended(name=self._children.pop(pid), pid=pid, status=os.waitstatus_to_exitcode(status)))

    def _end_children(self) -> None:
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + FAREWELL
        while self._children and time.monotonic() < deadline:
            time.sleep(0.02)
            self._reap()
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for pid in self._children:
            os.kill(pid, number)

    def _tell(self, report: Report) -> None:
        # Nobody is there to be told when the supervisor has gone.
        with suppress(OSError):
            self._channel.sendall(encode(report))


def _redirect(log: str) -> None:
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.close(out)


def run(task: Fork) -> object:
    """Be the process that ``task`` asks for; return what its entry returns."""
    title.set_title(("orderflow", *task.arguments))
    sys.argv = ["orderflow", *task.arguments]
    module, _, function = task.entry.partition(":")
    entry = getattr(importlib.import_module(module), function)
    result: object = entry(list(task.arguments))
    return result


def main(arguments: Sequence[str]) -> object:
    """Serve the socket whose descriptor is the first argument; in a forked process, be that process."""
    title.remember_room()
    with socket.socket(fileno=int(arguments[0])) as channel:
        task = ForkServer(channel).serve()
    return run(task) if task is not None else 0


def command_line(descriptor: int) -> list[str]:
    """Return the command that starts a fork server on the socket with this descriptor."""
    return [sys.executable, "-m", __name__, str(descriptor), *_room()]


def _room() -> Iterable[str]:
    # The processes' names are written where this process's command line stands, which has to be as long.
    return (" " * 120,)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # type: ignore[arg-type]
