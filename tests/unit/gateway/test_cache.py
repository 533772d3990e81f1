import asyncio

import pytest

from orderflow.gateway.cache import LEASE_SECONDS, LONGEST_TTL, Cache, Fresh, Lease, MemoryCache, ReadThrough


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is cached. Readings wait while it is held."""

    def __init__(self, value: bytes | None = b"old", ttl: float = 10.0) -> None:
        self.value = value
        self.ttl = ttl
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> Fresh | None:
        self.reads += 1
        value = self.value
        await self.gate.wait()
        return None if value is None else Fresh(value, self.ttl)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> MemoryCache:
    return MemoryCache(time)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_was_read_once_is_not_read_again_until_its_time_is_over(cache: MemoryCache, time: Time) -> None:
    reads, source = ReadThrough(cache), Source(ttl=10)
    assert [await reads.get("k", source.load) for _ in range(3)] == [b"old"] * 3
    assert source.reads == 1
    time.now += 10
    source.value = b"new"
    assert await reads.get("k", source.load) == b"new"
    assert source.reads == 2


async def test_what_is_not_there_is_not_remembered(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source(None)
    assert await reads.get("k", source.load) is None
    source.value = b"now it is"
    assert await reads.get("k", source.load) == b"now it is"


async def test_what_may_not_be_kept_is_not_kept(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source(ttl=0)
    await reads.get("k", source.load)
    await reads.get("k", source.load)
    assert source.reads == 2


async def test_nothing_is_kept_longer_than_the_longest_time(cache: MemoryCache, time: Time) -> None:
    reads, source = ReadThrough(cache), Source(ttl=3600)
    await reads.get("k", source.load)
    time.now += LONGEST_TTL
    await reads.get("k", source.load)
    assert source.reads == 2


async def test_a_dropped_entry_is_read_again(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source()
    await reads.get("k", source.load)
    source.value = b"new"
    await cache.drop(["k"])
    assert await reads.get("k", source.load) == b"new"


async def test_readers_of_the_same_missing_entry_share_one_reading(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source()
    source.gate.clear()
    readers = [asyncio.create_task(reads.get("k", source.load)) for _ in range(20)]
    await settle()
    source.gate.set()
    assert await asyncio.gather(*readers) == [b"old"] * 20
    assert source.reads == 1


async def test_a_reader_that_leaves_does_not_take_the_others_answer_with_it(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source()
    source.gate.clear()
    first, second = (asyncio.create_task(reads.get("k", source.load)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    source.gate.set()
    assert await second == b"old"


async def test_a_value_read_before_a_write_is_not_filled_in_after_it(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source(b"old")
    source.gate.clear()
    slow = asyncio.create_task(reads.get("k", source.load))
    await settle()
    source.value = b"new"
    await cache.drop(["k"])
    source.gate.set()
    assert await slow == b"old"
    assert await reads.get("k", source.load) == b"new"


async def test_a_reader_after_a_write_does_not_join_a_reading_from_before_it(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source(b"old")
    source.gate.clear()
    slow = asyncio.create_task(reads.get("k", source.load))
    await settle()
    source.value = b"new"
    await cache.drop(["k"])
    mine = asyncio.create_task(reads.get("k", source.load))
    await settle()
    source.gate.set()
    assert (await slow, await mine) == (b"old", b"new")


async def test_a_failed_reading_is_told_to_its_readers_and_the_next_one_reads_anew(cache: MemoryCache) -> None:
    reads, source = ReadThrough(cache), Source()

    async def fail() -> Fresh | None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await reads.get("k", fail)
    assert await reads.get("k", source.load) == b"old"
    assert await reads.get("k", source.load) == b"old"
    assert source.reads == 1


async def test_only_one_reader_holds_the_lease(cache: MemoryCache) -> None:
    first, second = await cache.look_up("k"), await cache.look_up("k")
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert (first.mine, second.mine) == (True, False)
    assert first.token == second.token


async def test_a_lease_ends_with_its_time_and_the_late_value_is_refused(cache: MemoryCache, time: Time) -> None:
    late = await cache.look_up("k")
    assert isinstance(late, Lease)
    time.now += LEASE_SECONDS
    await cache.fill(late, b"late", 10)
    assert isinstance(await cache.look_up("k"), Lease)


async def test_for_a_while_after_a_drop_with_hold_nobody_fills(cache: MemoryCache, time: Time) -> None:
    reads, source = ReadThrough(cache), Source()
    await cache.drop(["k"], hold=0.25)
    await reads.get("k", source.load)
    await reads.get("k", source.load)
    assert source.reads == 2
    time.now += 0.25
    await reads.get("k", source.load)
    await reads.get("k", source.load)
    assert source.reads == 3


async def test_the_least_recently_used_entry_goes_first(time: Time) -> None:
    cache = MemoryCache(time, entries=2)
    reads, source = ReadThrough(cache), Source()
    for key in "a", "b", "a", "c":
        await reads.get(key, source.load)
    before = source.reads
    await reads.get("a", source.load)
    assert source.reads == before
    await reads.get("b", source.load)
    assert source.reads == before + 1


async def test_leases_that_nobody_fills_do_not_pile_up(time: Time) -> None:
    cache = MemoryCache(time, entries=10)
    for number in range(100):
        await cache.look_up(str(number))
        time.now += LEASE_SECONDS
    assert len(cache._leases) <= 11


class Away:
    """A cache that cannot be reached."""

    async def look_up(self, key: str) -> bytes | Lease:
        return Lease(key, "nobody's", mine=False)

    async def fill(self, lease: Lease, value: bytes, ttl: float) -> None:
        raise AssertionError("only the holder of a lease fills")

    async def release(self, lease: Lease) -> None:
        raise AssertionError("only the holder of a lease releases it")

    async def drop(self, keys: object, hold: float = 0) -> None: ...

    async def close(self) -> None: ...


async def test_without_a_cache_every_reader_reads_the_source() -> None:
    away: Cache = Away()
    reads, source = ReadThrough(away), Source()
    assert [await reads.get("k", source.load) for _ in range(2)] == [b"old"] * 2
    assert source.reads == 2
