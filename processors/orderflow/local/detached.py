"""A supervisor in the background: ``up --detach`` starts it, hears from it until everything is ready, and leaves.

It runs the same ``up`` as a terminal does. What it has to say goes through a pipe until it is ready or has failed, and
to ``supervisor.log`` all the time.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from orderflow.local.board import PlainLines
from orderflow.local.errors import LocalError, last_line_of
from orderflow.local.processes import Program
from orderflow.local.state import Folder, Status
from orderflow.spec.errors import SpecError


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be brought up."""

    manifest: str
    data_dir: str
    cache: str
    program: Program


class _Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One word from the background: something that happened, or how it ended."""

    line: str = ""
    ready: bool = False
    error: str = ""


def start_detached(request: Request, say: Callable[[str], None]) -> None:
    """Bring a system up in the background and return when it is ready.

    Raises:
        LocalError: it could not be; nothing of it runs any more.
    """
    log = Folder(Path(request.data_dir).absolute()).log("supervisor")
    ours, theirs = os.pipe()
    try:
        pid = _spawn(theirs, request, log)
    except OSError as error:
        raise LocalError(f"nothing can be written to {request.data_dir}: {error.strerror or error}") from error
    finally:
        os.close(theirs)
    try:
        with os.fdopen(ours, "rb") as words:
            _listen(words, say)
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    except LocalError:
        os.waitpid(pid, 0)
        raise
    except EOFError:
        os.waitpid(pid, 0)
        raise LocalError(f"the supervisor has ended: {last_line_of(log)}") from None


def _spawn(descriptor: int, request: Request, log: Path) -> int:
    """Start this module as a process that nobody waits for, and return its process id."""
    os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", __name__, str(descriptor), msgspec.json.encode(request).decode()]
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=files)


def _listen(words: IO[bytes], say: Callable[[str], None]) -> None:
    """Pass on what is said until everything is ready.

    Raises:
        LocalError: it has failed, and says why.
        EOFError: it has ended without a word.
    """
    for line in words:
        word = msgspec.json.decode(line, type=_Word)
        if word.error:
            raise LocalError(word.error)
        if word.ready:
            return
        say(word.line)
    raise EOFError


class _Pipe(PlainLines):
    """Tells whoever waits at the other end of a pipe, until they need no more."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor: int | None = descriptor

    def say(self, line: str) -> None:
        super().say(line)
        self.send(_Word(line=line))

    def show(self, status: Status) -> None:
        del status

    def ready(self) -> None:
        self.send(_Word(ready=True))
        self.leave()

    def send(self, word: _Word) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, msgspec.json.encode(word) + b"\n")
        except OSError:
            # Nobody waits any more: the system comes up all the same.
            self.leave()

    def leave(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def main(arguments: Sequence[str]) -> int:
    """Run the system that the second argument asks for; the first is the descriptor of the pipe."""
    from orderflow.local.up import up  # noqa: PLC0415 - it starts this module

    # A session of its own: what ends the terminal it was started from does not end it.
    os.setsid()
    descriptor, encoded = arguments
    request = msgspec.json.decode(encoded, type=Request)
    pipe = _Pipe(int(descriptor))
    try:
        up(
            Path(request.manifest),
            Path(request.data_dir),
            program=request.program,
            cache=Path(request.cache),
            reporter=pipe,
        )
    except (LocalError, SpecError) as error:
        pipe.send(_Word(error=str(error)))
        PlainLines().say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
