"""The aggregates of one transaction: as read, as changed, and what the cache is to hold afterwards.

Every decision asserts the version of all it read, also when it changes nothing: the rows are read with their versions
under a lock that lasts until the commit, so what was decided on is what is there when it is recorded. A cached state
whose version differs is stale (the API writes orders too) and is read again.
"""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import Connection

from orderflow.runtime.rows import Rows, Versioned

S = TypeVar("S", bound=msgspec.Struct)


def to_cache(version: int, data: bytes) -> bytes:
    """Return a cache entry: the version, a space, the state as JSON."""
    return b"%d %b" % (version, data)


def from_cache(entry: bytes) -> tuple[int, bytes]:
    """Return the version and the state as JSON of a cache entry."""
    version, _, data = entry.partition(b" ")
    return int(version), data


class Aggregates(Generic[S]):
    """Reads and writes the aggregates that one transaction touches."""

    def __init__(self, rows: Rows[S], cached: Mapping[str, bytes]) -> None:
        self._rows = rows
        self._cached = cached
        self._read: dict[str, int] = {}
        self._states: dict[str, S] = {}
        self._changed: set[str] = set()

    def read(self, connection: Connection, keys: Iterable[str]) -> None:
        """Read and lock the rows of ``keys`` that have not been read yet; the cache spares reading the state."""
        wanted = {key for key in keys if key not in self._read}
        hoped = {key: from_cache(self._cached[key]) for key in wanted if key in self._cached}
        versions = self._rows.versions(connection, hoped, lock=True) if hoped else {}
        fresh = {key for key, (version, _) in hoped.items() if versions.get(key) == version}
        for key in fresh:
            self._take(key, Versioned(hoped[key][0], self._rows.decode(hoped[key][1])))
        for key, row in self._rows.load(connection, wanted - fresh, lock=True).items():
            self._take(key, row)
        for key in wanted:
            self._read.setdefault(key, 0)

    def _take(self, key: str, row: Versioned[S]) -> None:
        self._read[key] = row.version
        self._states[key] = row.state

    def state(self, key: str) -> S | None:
        """Return the state as this transaction has it now."""
        return self._states.get(key)

    def change(self, key: str, state: S) -> None:
        """Take a decision's new state; an equal one changes nothing."""
        if self._states.get(key) != state:
            self._states[key] = state
            self._changed.add(key)

    def write(self, connection: Connection) -> None:
        """Write what has changed, each row one version on.

        Raises:
            StaleState: a row has moved on in spite of the lock.
            sqlalchemy.exc.IntegrityError: a row that was not there has appeared.
        """
        rows = {key: Versioned(self._read[key] + 1, self._states[key]) for key in self._changed}
        self._rows.insert(connection, {key: row for key, row in rows.items() if row.version == 1})
        self._rows.update(connection, {key: row for key, row in rows.items() if row.version > 1})
        self._read.update({key: row.version for key, row in rows.items()})
        self._changed.clear()

    def entries(self) -> dict[str, tuple[S, bytes]]:
        """Return, after :meth:`write`, every aggregate that is there, with its cache entry."""
        return {
            key: (state, to_cache(self._read[key], self._rows.encode(state))) for key, state in self._states.items()
        }
