"""The shared cache on a real Redis: what the in-process one promises, between processes, and when Redis goes away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from api.serving import client, deployment, serving
from orderflow.gateway import redis_cache
from orderflow.gateway.cache import Fresh, Lease, ReadThrough
from orderflow.gateway.redis_cache import RedisCache
from orderflow.runtime.database import open_database
from servers.redis import Redis

WALKTHROUGH = b'{"customerId":"test-1","customerName":"Test","items":[{"productId":"sku-1","quantity":1}]}'


class Source:
    """What is cached. Readings wait while it is held."""

    def __init__(self, value: bytes = b"old", ttl: float = 30.0) -> None:
        self.value = value
        self.ttl = ttl
        self.reads = 0
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> Fresh:
        self.reads += 1
        self.begun.put_nowait(self.reads)
        value = self.value
        await self.gate.wait()
        return Fresh(value, self.ttl)


@pytest.fixture
async def here(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_url)
    yield cache
    await cache.close()


@pytest.fixture
async def there(redis_url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_url)
    yield cache
    await cache.close()


async def test_what_one_process_has_read_another_need_not_read(here: RedisCache, there: RedisCache) -> None:
    source = Source()
    assert await ReadThrough(here).get("k", source.load) == b"old"
    assert await ReadThrough(there).get("k", source.load) == b"old"
    assert source.reads == 1


async def test_an_entry_ends_with_its_time(here: RedisCache) -> None:
    reads, source = ReadThrough(here), Source(ttl=0.05)
    await reads.get("k", source.load)
    await asyncio.sleep(0.1)
    await reads.get("k", source.load)
    assert source.reads == 2


async def test_bytes_come_back_as_they_were(here: RedisCache) -> None:
    value = bytes(range(256))
    reads, source = ReadThrough(here), Source(value)
    assert [await reads.get("k {}: ü", source.load) for _ in range(2)] == [value, value]
    assert source.reads == 1


async def test_a_drop_in_one_process_is_a_miss_in_all(here: RedisCache, there: RedisCache) -> None:
    source = Source()
    await ReadThrough(here).get("k", source.load)
    source.value = b"new"
    await there.drop(["k"])
    assert await ReadThrough(here).get("k", source.load) == b"new"


async def test_a_value_read_before_a_write_elsewhere_is_not_filled_in_after_it(
    here: RedisCache, there: RedisCache
) -> None:
    reads, source = ReadThrough(here), Source()
    source.gate.clear()
    slow = asyncio.create_task(reads.get("k", source.load))
    await source.begun.get()
    source.value = b"new"
    await there.drop(["k"])
    mine = asyncio.create_task(reads.get("k", source.load))
    await source.begun.get()
    source.gate.set()
    assert (await slow, await mine) == (b"old", b"new")
    assert await ReadThrough(there).get("k", source.load) == b"new"


async def test_only_one_process_holds_the_lease(here: RedisCache, there: RedisCache) -> None:
    mine, theirs = await here.look_up("k"), await there.look_up("k")
    assert isinstance(mine, Lease)
    assert isinstance(theirs, Lease)
    assert (mine.mine, theirs.mine) == (True, False)
    await here.release(mine)
    assert await there.look_up("k") != theirs


async def test_for_a_while_after_a_drop_with_hold_nobody_fills(here: RedisCache) -> None:
    reads, source = ReadThrough(here), Source()
    await here.drop(["k"], hold=0.1)
    await reads.get("k", source.load)
    await reads.get("k", source.load)
    assert source.reads == 2
    await asyncio.sleep(0.15)
    await reads.get("k", source.load)
    await reads.get("k", source.load)
    assert source.reads == 3


async def test_while_redis_is_away_every_reader_reads_the_source(here: RedisCache, redis: Redis) -> None:
    reads, source = ReadThrough(here), Source()
    await reads.get("k", source.load)
    redis.stop()
    try:
        source.value = b"new"
        assert await reads.get("k", source.load) == b"new"
        await here.drop(["k"])
        assert await reads.get("k", source.load) == b"new"
    finally:
        redis.start()


async def test_nothing_listening_at_the_address_is_a_cache_that_is_away() -> None:
    cache = RedisCache("redis://127.0.0.1:1/0")
    reads, source = ReadThrough(cache), Source()
    assert [await reads.get("k", source.load) for _ in range(2)] == [b"old", b"old"]
    await cache.drop(["k"])
    await cache.close()


async def test_what_could_not_be_dropped_is_dropped_before_redis_is_believed_again(
    here: RedisCache, there: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source()
    await ReadThrough(here).get("k", source.load)
    source.value = b"new"
    # This process cannot reach Redis for a moment; the old entry survives there.
    monkeypatch.setattr(here, "_away_until", here._now() + 60)
    await here.drop(["k"])
    assert await ReadThrough(here).get("k", source.load) == b"new"
    monkeypatch.setattr(here, "_away_until", 0.0)
    assert await ReadThrough(here).get("k", source.load) == b"new"
    assert await ReadThrough(there).get("k", source.load) == b"new"


async def test_after_a_failure_redis_is_left_alone_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = RedisCache("redis://127.0.0.1:1/0")
    asked = []

    async def fail(*_arguments: object, **_named: object) -> None:
        asked.append(1)
        raise OSError("refused")

    monkeypatch.setattr(cache, "_look_up", fail)
    for _ in range(5):
        await cache.look_up("k")
    assert len(asked) == 1
    monkeypatch.setattr(cache, "_now", lambda: 1e12 + redis_cache.AWAY_SECONDS)
    await cache.look_up("k")
    assert len(asked) == 2
    await cache.close()


async def test_with_two_api_processes_a_reader_sees_its_own_write(tmp_path: Path, redis_url: str) -> None:
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}", cache=redis_url)
    async with (
        serving(deployed, "order-api-0") as here,
        serving(deployed, "order-api-1") as there,
        client(here) as one,
        client(there) as other,
    ):
        for _ in range(10):
            path = f"/api/orders/{(await one.post(WALKTHROUGH)).json()['orderId']}"
            assert (await other.get(path)).json()["status"] == "Pending"
            assert (await one.get(path)).json()["status"] == "Pending"
            assert (await one.ask("PATCH", f"{path}/status", b'{"status":"Cancelled"}')).status == 204
            assert (await other.get(path)).json()["status"] == "Compensating"


async def test_an_entry_is_served_from_redis_and_not_from_the_database(tmp_path: Path, redis_url: str) -> None:
    url = f"sqlite:///{tmp_path / 'order.sqlite'}"
    async with serving(deployment(tmp_path, url, cache=redis_url)) as root, client(root) as one:
        assert (await one.get("/api/products/sku-1")).json()["price"] == "19.99"
        engine = open_database(url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE catalogue SET price = 5"))
        engine.dispose()
        assert (await one.get("/api/products/sku-1")).json()["price"] == "19.99"


async def test_the_api_goes_on_without_redis(tmp_path: Path, redis: Redis) -> None:
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}", cache=redis.url)
    async with serving(deployed) as root, client(root) as one:
        redis.stop()
        try:
            order = (await one.post(WALKTHROUGH)).json()
            path = f"/api/orders/{order['orderId']}"
            assert (await one.get(path)).json() == order
            assert (await one.ask("PATCH", f"{path}/status", b'{"status":"Cancelled"}')).status == 204
            assert (await one.get(path)).json()["status"] == "Compensating"
        finally:
            redis.start()
        assert (await one.get(path)).json()["status"] == "Compensating"
