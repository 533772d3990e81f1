"""The Faust tables of a context, used as what they are here: a cache of what is in flight, and a window onto totals.

An aggregate is in its table while it lives and goes when it is terminal. Nothing is restored from the changelog: after
a rebalance the cache fills from SQL as keys are met, and what belongs to a partition that has left is forgotten.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Protocol

import structlog

log = structlog.get_logger(__name__)


class Table(Protocol):
    """As much of a Faust table as is used: writes go to its changelog, ``data`` is this worker's own copy."""

    data: MutableMapping[str, bytes]

    def __getitem__(self, key: str) -> bytes: ...
    def __setitem__(self, key: str, value: bytes) -> None: ...
    def __delitem__(self, key: str) -> None: ...


class MemoryTable:
    """A table without a changelog: where there is no Faust to have one."""

    def __init__(self) -> None:
        self.data: MutableMapping[str, bytes] = {}

    def __getitem__(self, key: str) -> bytes:
        return self.data[key]

    def __setitem__(self, key: str, value: bytes) -> None:
        self.data[key] = value

    def __delitem__(self, key: str) -> None:
        del self.data[key]


class StateCache:
    """Cache entries of aggregates, by key, with the partition that each came by."""

    def __init__(self, table: Table, shown: Table | None = None) -> None:
        self._table = table
        self._shown = shown
        self._partitions: dict[int, set[str]] = {}

    def entries(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the entries of those ``keys`` that are in the cache."""
        data = self._table.data
        return {key: data[key] for key in keys if key in data}

    def update(
        self, states: Mapping[str, tuple[Any, bytes]], partitions: Mapping[str, int], live: Mapping[str, bool]
    ) -> None:
        """Take over what has been committed: living aggregates stay, others go."""
        for key, (_, entry) in states.items():
            partition = partitions.get(key)
            if partition is not None and live[key]:
                self._table[key] = entry
                self._partitions.setdefault(partition, set()).add(key)
            elif key in self._table.data:
                del self._table[key]
                self._partitions.get(partition if partition is not None else -1, set()).discard(key)

    def show(self, totals: Mapping[str, bytes]) -> None:
        """Show the absolute content of shared rows."""
        if self._shown is not None:
            for key, value in totals.items():
                self._shown[key] = value

    def evict(self, keys: Iterable[str]) -> None:
        """Forget entries that may be stale, here and nowhere else."""
        for key in keys:
            self._table.data.pop(key, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget what came by partitions that have left this worker."""
        for partition in set(partitions):
            self.evict(self._partitions.pop(partition, set()))

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._partitions.values())
