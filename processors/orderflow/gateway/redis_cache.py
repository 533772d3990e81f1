"""The cache that several API processes share, in Redis.

An entry and its lease are two keys with one hash tag, so that a script may touch both in a cluster too. While Redis is
away every look-up misses; what should have been dropped meanwhile is remembered, not trusted, and dropped when Redis is
back, or forgotten once every entry of that time has expired.
"""

from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Final, TypeVar, cast
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from orderflow.gateway.cache import LEASE_SECONDS, LONGEST_TTL, Lease

T = TypeVar("T")
log = structlog.get_logger(__name__)

PATIENCE: Final = 0.1
"""Seconds to wait for Redis: reading the database takes less than waiting longer would."""

AWAY_SECONDS: Final = 1.0
"""How long Redis is left alone after it has failed, so that its absence does not cost every request the wait."""

PREFIX: Final = "orderflow:"

_LOOK_UP = """
local value = redis.call('GET', KEYS[1])
if value then return {value, ''} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, ARGV[1]} end
return {false, redis.call('GET', KEYS[2])}
"""

_FILL = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class RedisCache:
    """A :class:`~orderflow.gateway.cache.Cache` in Redis at ``url``."""

    def __init__(self, url: str, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._look_up = self._redis.register_script(_LOOK_UP)
        self._fill = self._redis.register_script(_FILL)
        self._release = self._redis.register_script(_RELEASE)
        self._away_until = 0.0
        self._undropped: dict[str, float] = {}

    async def look_up(self, key: str) -> bytes | Lease:
        """See :class:`~orderflow.gateway.cache.Cache`."""
        token = uuid4().hex
        nobodys = Lease(key, token, mine=False)
        if self._undropped and not await self._catch_up():
            return nobodys
        arguments: tuple[str | int, ...] = (token, int(LEASE_SECONDS * 1000))
        found = await self._ask(lambda: self._look_up(keys=[_entry(key), _lease(key)], args=arguments))
        if found is None:
            return nobodys
        value, current = cast("tuple[bytes | None, bytes | None]", tuple(found))
        if value is not None:
            return value
        if not current:
            return nobodys
        return Lease(key, current.decode(), mine=current.decode() == token)

    async def fill(self, lease: Lease, value: bytes, ttl: float) -> None:
        """See :class:`~orderflow.gateway.cache.Cache`."""
        keys = [_entry(lease.key), _lease(lease.key)]
        arguments: tuple[str | bytes | int, ...] = (lease.token, value, max(1, int(ttl * 1000)))
        await self._ask(lambda: self._fill(keys=keys, args=arguments))

    async def release(self, lease: Lease) -> None:
        """See :class:`~orderflow.gateway.cache.Cache`."""
        await self._ask(lambda: self._release(keys=[_lease(lease.key)], args=[lease.token]))

    async def drop(self, keys: Iterable[str], hold: float = 0) -> None:
        """See :class:`~orderflow.gateway.cache.Cache`."""
        wanted = list(keys)
        if await self._ask(lambda: self._drop(wanted, hold)) is None:
            self._remember(wanted)

    async def close(self) -> None:
        """See :class:`~orderflow.gateway.cache.Cache`."""
        await self._redis.aclose()

    async def _drop(self, keys: Iterable[str], hold: float) -> bool:
        """Take the leases first: an entry filled in between would otherwise survive."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                if hold:
                    pipeline.set(_lease(key), uuid4().hex, px=int(hold * 1000))
                else:
                    pipeline.delete(_lease(key))
                pipeline.delete(_entry(key))
            await pipeline.execute()
        return True

    def _remember(self, keys: Iterable[str]) -> None:
        now = self._now()
        self._undropped = {key: until for key, until in self._undropped.items() if until > now}
        self._undropped.update(dict.fromkeys(keys, now + LONGEST_TTL))

    async def _catch_up(self) -> bool:
        """Drop what could not be dropped while Redis was away, and tell whether that has succeeded."""
        late = dict(self._undropped)
        if await self._ask(lambda: self._drop(late, 0)) is None:
            return False
        for key, until in late.items():
            if self._undropped.get(key) == until:
                del self._undropped[key]
        return True

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """Return Redis's answer, or ``None`` if there is none."""
        if self._now() < self._away_until:
            return None
        try:
            return await command()
        except (RedisError, OSError) as error:
            self._away_until = self._now() + AWAY_SECONDS
            log.warning("cache is away", error=type(error).__name__)
            return None


def _entry(key: str) -> str:
    return f"{PREFIX}{{{key}}}"


def _lease(key: str) -> str:
    return f"{PREFIX}{{{key}}}:lease"
