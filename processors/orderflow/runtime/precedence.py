"""Precedence at SQLite's write lock: whoever waits on behalf of a person goes before those who work on batches.

SQLite has no queue: the lock goes to whoever happens to look first after it came free. A processor that begins its next
transaction as soon as it has committed one would keep the order API waiting for seconds. A file beside the database
says that somebody waits; its lock goes with its process.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine


class Precedence:
    """Who waits for the write lock of one database."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._claiming = os.open(path, flags, 0o644)
        self._looking = os.open(path, flags, 0o644)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Ask everybody who looks to let this process go first."""
        # Somebody who looks has the file to himself for a moment; one who was stopped there must not stop us.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._claiming, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            yield
        finally:
            fcntl.flock(self._claiming, fcntl.LOCK_UN)

    def is_claimed(self) -> bool:
        """Tell whether some process has asked to go first."""
        try:
            fcntl.flock(self._looking, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._looking, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._claiming)
        os.close(self._looking)


def precedence_at(engine: Engine) -> Precedence:
    """Return the precedence at the SQLite database of ``engine``."""
    return Precedence(f"{engine.url.database}-precedence")
