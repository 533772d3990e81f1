"""What the data directory says of the system that runs in it: who is at work, and how everybody is.

``state.json`` is replaced as a whole whenever something changes, so a reader always sees one moment. Whether there
still is a supervisor behind it tells the lock, which the kernel takes back however its holder ends.
"""

import fcntl
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

Kind = Literal["broker", "processor", "api"]
State = Literal["starting", "ready", "unready", "waiting", "stopped"]
"""``waiting``: it has ended and will be started again."""


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One process. ``pid`` is empty while there is none; ``lag`` is how many messages wait for it, where it says so."""

    name: str
    kind: Kind
    state: State
    ready: bool
    pid: int | None
    port: int | None
    restarts: int
    started_at: datetime | None
    lag: int | None
    detail: str


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The system in a data directory.

    Attributes:
        running: whether there is a supervisor.
        ready: whether everything is up; the times it was not are in the processes' restarts.
        pid: the supervisor's.
    """

    name: str
    data_dir: str
    running: bool
    ready: bool
    pid: int
    revision: str
    broker: str
    gateway: str
    started_at: datetime
    processes: tuple[ProcessStatus, ...]


@dataclass(frozen=True)
class Folder:
    """A data directory."""

    root: Path

    @property
    def deployment(self) -> Path:
        """What every process reads."""
        return self.root / "run.json"

    @property
    def kafka(self) -> Path:
        """The embedded broker's."""
        return self.root / "kafka"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.root / "logs"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor."""
        return self.root / "supervisor.lock"

    @property
    def processes_lock(self) -> Path:
        """Held by every process of the system."""
        return self.root / "processes.lock"

    def write_status(self, status: Status) -> None:
        """Replace what is known of the system.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self._state, msgspec.json.format(msgspec.json.encode(status)))

    def read_status(self) -> Status | None:
        """Return what was last written, if anything that can be read was."""
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=Status)
        except (OSError, msgspec.DecodeError):
            return None

    @property
    def _state(self) -> Path:
        return self.root / "state.json"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees the old content or the new, never half of it.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


_LOOK: Final = 0.05


class Lock:
    """A lock that is free again when every process that has its file open has ended or closed it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor: int | None = None

    def take(self, patience: float) -> bool:
        """Take the lock within so many seconds; tell whether that worked.

        Raises:
            OSError: the file cannot be opened.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + patience
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                return False
            time.sleep(_LOOK)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self.descriptor = descriptor
        return True

    def give_back(self) -> None:
        """Close the file; the lock is free when everybody else has done so too."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def holder(self) -> int | None:
        """Return the process id of whoever took the lock, or ``None`` where it is free."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return None
        try:
            if _locked(descriptor, fcntl.LOCK_SH):
                return None
            return int(os.read(descriptor, 20) or b"0")
        finally:
            os.close(descriptor)

    def wait_until_free(self, patience: float) -> bool:
        """Wait so many seconds for the lock to be free; tell whether it is."""
        deadline = time.monotonic() + patience
        while self.holder() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        return True


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
