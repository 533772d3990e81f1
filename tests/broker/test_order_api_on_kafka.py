"""The order API with a real broker: what it publishes at once, and what it drops when an event says so."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select, text

from api.serving import client, deployment, serving
from harness.broker import Sent, create_topics, read_all, send
from orderflow.contracts.topics import INVENTORY_EVENTS, ORDER_EVENTS, TOPICS
from orderflow.runtime.database import open_database
from orderflow.runtime.schema import outbox

WALKTHROUGH = b'{"customerId":"test-1","customerName":"Test","items":[{"productId":"sku-1","quantity":1}]}'


async def eventually(look: Callable[[], Awaitable[bool]], what: str, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not await look():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.05)


async def test_orders_are_published_at_once_and_events_drop_what_is_cached(tmp_path: Path, kafka_address: str) -> None:
    prefix, url = f"{uuid4().hex[:8]}-", f"sqlite:///{tmp_path / 'order.sqlite'}"
    await asyncio.to_thread(create_topics, kafka_address, [prefix + topic for topic in TOPICS], 2)
    deployed = deployment(tmp_path, url, broker=kafka_address, prefix=prefix)
    engine = open_database(url)
    async with serving(deployed) as root, client(root) as one:

        async def is_ready() -> bool:
            return (await one.get("/health/ready")).json()["status"] == "ok"

        await eventually(is_ready, "the broker is there")
        order_id = (await one.post(WALKTHROUGH)).json()["orderId"]

        async def is_marked() -> bool:
            with engine.connect() as connection:
                return None not in connection.scalars(select(outbox.c.published_at)).all()

        await eventually(is_marked, "the outbox is published and marked")
        published = await asyncio.to_thread(read_all, kafka_address, prefix + ORDER_EVENTS)
        assert [record.key for record in published] == [order_id]

        async def price() -> Decimal:
            return Decimal(str((await one.get("/api/products/sku-1")).json()["price"]))

        changed = Sent(prefix + INVENTORY_EVENTS, "sku-1", b"{}", {"ce_type": "ProductChanged"})

        async def is_dropped() -> bool:
            await asyncio.to_thread(send, kafka_address, [changed])
            await asyncio.sleep(0.5)
            return await price() == Decimal("5.00")

        assert await price() == Decimal("19.99")
        with engine.begin() as connection:
            connection.execute(text("UPDATE catalogue SET price = 5"))
        assert await price() == Decimal("19.99")
        await eventually(is_dropped, "the event has dropped the product")
    engine.dispose()
