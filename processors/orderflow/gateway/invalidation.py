"""Drops cache entries when an event says that what they show has changed.

The order context publishes its events after it has committed what they tell of, keyed by the order's id: nothing has to
be decoded to know which entries are stale. Product events come from inventory and say what the order context's
catalogue is about to hold; therefore an entry dropped for one is not filled again for a moment. What has no event (an
order on its way from step to step) is kept for a second at most.

Nobody else has to read these messages on the API's account, so there is no consumer group: every process reads all
partitions from their end. What is missed while the broker is away shows until its entry's time is over.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer

from orderflow.contracts.events import ProductChanged
from orderflow.contracts.topics import INVENTORY_EVENTS, ORDER_EVENTS
from orderflow.gateway.cache import Cache
from orderflow.runtime.pacing import pace

log = structlog.get_logger(__name__)

WATCHED: Final = (ORDER_EVENTS, INVENTORY_EVENTS)

SETTLING: Final = 0.25
"""Seconds for which a product's entry is not filled again: several times what the order context needs to record it."""

RECONNECT_AFTER: Final = 2.0

GAP: Final = 0.1
"""Seconds between two fetches: so much longer than otherwise an entry may be stale."""

_PRODUCT_CHANGED: Final = ("ce_type", ProductChanged.__name__.encode())


class RecordLike(Protocol):
    """What is looked at of a record."""

    @property
    def key(self) -> bytes | None:
        """The record's key."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The record's headers."""


def order_entries(order_id: str) -> tuple[str, ...]:
    """Return the cache entries that show something of an order."""
    return (f"order:{order_id}", f"timeline:{order_id}", f"notifications:{order_id}")


def product_entries(product_id: str) -> tuple[str, ...]:
    """Return the cache entries that show something of a product."""
    return (f"product:{product_id}", "products")


def stale_entries(records: Iterable[RecordLike]) -> tuple[set[str], set[str]]:
    """Return the entries of orders, and those of products, that ``records`` make stale."""
    orders: set[str] = set()
    products: set[str] = set()
    for record in records:
        if record.key:
            key = record.key.decode(errors="replace")
            if _PRODUCT_CHANGED in record.headers:
                products.update(product_entries(key))
            else:
                orders.update(order_entries(key))
    return orders, products


class Invalidation:
    """Reads the watched topics until it is stopped, and drops what they make stale.

    Args:
        connection: ``bootstrap_servers`` and whatever else aiokafka's consumer needs to connect.
        prefix: of the topics' names.
    """

    def __init__(self, cache: Cache, connection: Mapping[str, Any], prefix: str = "") -> None:
        self._cache = cache
        self._connection = connection
        self._topics = [prefix + topic for topic in WATCHED]
        self._task: asyncio.Task[None] | None = None
        self.following = asyncio.Event()
        """Set while the ends of all partitions are being followed."""

    async def start(self) -> None:
        """Start reading in the background; the broker may come later."""
        self._task = asyncio.create_task(self._run(), name="invalidation")

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:
                # Mostly the broker is away; whatever it is, entries only live longer for it.
                log.warning("invalidation begins again", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_AFTER)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(*self._topics, auto_offset_reset="latest", **self._connection)
        try:
            await consumer.start()
            pace(consumer, GAP)
            await consumer.seek_to_end()
            self.following.set()
            while True:
                batches = await consumer.getmany(timeout_ms=1000)
                orders, products = stale_entries(record for batch in batches.values() for record in batch)
                if orders:
                    await self._cache.drop(orders)
                if products:
                    await self._cache.drop(products, SETTLING)
        finally:
            self.following.clear()
            await consumer.stop()
