"""Cache-aside: a reader that misses reads the database and fills the cache, a writer drops what it has changed.

A value that was read before a write must not be filled in after it. So a miss comes with a *lease*, and only the
holder of the current lease may fill; dropping an entry takes its lease away. The reader that was too slow has its
answer and the cache stays empty.

The cache holds copies only. Where it cannot be reached, every look-up misses and nothing is filled.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol
from uuid import uuid4

LEASE_SECONDS: Final = 5.0
"""How long a reader has for reading the database; a slower one does not fill."""

LONGEST_TTL: Final = 60.0
"""Seconds after which any entry is gone: the bound on how long a lost invalidation can show."""

ENTRIES: Final = 20_000
"""Entries of the in-process cache: at about 1 KB each, 20 MB."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to fill ``key``, if it is ``mine``. The token changes whenever the entry is dropped."""

    key: str
    token: str
    mine: bool


class Cache(Protocol):
    """Where copies are kept. No method raises because the cache is away."""

    async def look_up(self, key: str) -> bytes | Lease:
        """Return the entry, or a lease: the reader's own, or the one that somebody else reads under."""

    async def fill(self, lease: Lease, value: bytes, ttl: float) -> None:
        """Keep ``value`` for ``ttl`` seconds, if the lease is still the current one. Ends the lease."""

    async def release(self, lease: Lease) -> None:
        """End the lease without a value."""

    async def drop(self, keys: Iterable[str], hold: float = 0) -> None:
        """Forget the entries and take their leases away; for ``hold`` seconds nobody gets another."""

    async def close(self) -> None:
        """Let go of the connection, if there is one."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read from its source, as bytes, and for how many seconds it may be shown."""

    value: bytes
    ttl: float


Load = Callable[[], Awaitable[Fresh | None]]


class ReadThrough:
    """Reads through a cache. Readers that miss the same entry at the same time share one reading of the source."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._flights: dict[tuple[str, str], asyncio.Task[bytes | None]] = {}

    async def get(self, key: str, load: Load) -> bytes | None:
        """Return the entry, or what ``load`` reads; ``None``, which is not kept, if there is none.

        Whoever has written and dropped the entry never gets what was read before that: the lease of such a reading
        is not the current one, and only readings under the current lease are shared.
        """
        found = await self.cache.look_up(key)
        if isinstance(found, bytes):
            return found
        flight_id = (key, found.token)
        flight = self._flights.get(flight_id)
        if flight is None:
            flight = asyncio.create_task(self._read(found, load))
            self._flights[flight_id] = flight
            flight.add_done_callback(lambda done: self._landed(flight_id, done))
        # A reader that leaves does not take the others' answer with it.
        return await asyncio.shield(flight)

    async def _read(self, lease: Lease, load: Load) -> bytes | None:
        fresh = None
        try:
            fresh = await load()
        finally:
            if lease.mine and fresh is None:
                await self.cache.release(lease)
        if fresh is None:
            return None
        if lease.mine and fresh.ttl > 0:
            await self.cache.fill(lease, fresh.value, min(fresh.ttl, LONGEST_TTL))
        elif lease.mine:
            await self.cache.release(lease)
        return fresh.value

    def _landed(self, flight_id: tuple[str, str], flight: "asyncio.Task[bytes | None]") -> None:
        del self._flights[flight_id]
        if not flight.cancelled():
            flight.exception()  # every reader may have left: the failure is not unheard of then, only unneeded


class MemoryCache:
    """The cache of one process: bounded by count, least recently used first, each entry with its time."""

    def __init__(self, now: Callable[[], float] = monotonic, entries: int = ENTRIES) -> None:
        self._now = now
        self._most = entries
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._leases: dict[str, tuple[str, float]] = {}

    async def look_up(self, key: str) -> bytes | Lease:
        """See :class:`Cache`."""
        now = self._now()
        entry = self._entries.get(key)
        if entry is not None and entry[1] > now:
            self._entries.move_to_end(key)
            return entry[0]
        held = self._leases.get(key)
        if held is not None and held[1] > now:
            return Lease(key, held[0], mine=False)
        lease = Lease(key, uuid4().hex, mine=True)
        self._give(key, lease.token, now + LEASE_SECONDS)
        return lease

    async def fill(self, lease: Lease, value: bytes, ttl: float) -> None:
        """See :class:`Cache`."""
        now = self._now()
        held = self._leases.get(lease.key)
        if held is None or held[0] != lease.token or held[1] <= now:
            return
        del self._leases[lease.key]
        self._entries[lease.key] = (value, now + ttl)
        self._entries.move_to_end(lease.key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    async def release(self, lease: Lease) -> None:
        """See :class:`Cache`."""
        held = self._leases.get(lease.key)
        if held is not None and held[0] == lease.token:
            del self._leases[lease.key]

    async def drop(self, keys: Iterable[str], hold: float = 0) -> None:
        """See :class:`Cache`."""
        for key in keys:
            self._entries.pop(key, None)
            self._leases.pop(key, None)
            if hold:
                self._give(key, uuid4().hex, self._now() + hold)

    async def close(self) -> None:
        """See :class:`Cache`."""

    def _give(self, key: str, token: str, until: float) -> None:
        if len(self._leases) >= self._most:
            now = self._now()
            self._leases = {held: lease for held, lease in self._leases.items() if lease[1] > now}
        self._leases[key] = (token, until)
