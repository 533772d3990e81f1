from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import select, update

from api.order_system import WALKTHROUGH, OrderSystem
from orderflow.contexts.order.tables import catalogue, orders


async def test_an_order_shows_its_fulfillment(system: OrderSystem) -> None:
    body = WALKTHROUGH.replace(b"{", b'{"flow":"ship-only",', 1)
    order_id = (await system.post(body)).json()["orderId"]
    empty = {"carrier": None, "trackingNumber": None, "shippedAt": None, "errorMessage": None}
    assert (await system.get(f"/api/orders/{order_id}")).json()["fulfillment"] == empty
    shipped = b'{"status":"Shipped","fulfillment":{"carrier":"UPS","trackingNumber":"1Z","shippedAt":"2026-03-01"}}'
    assert (await system.patch(order_id, shipped)).status == 204
    order = (await system.get(f"/api/orders/{order_id}")).json()
    assert order["status"] == "Shipped"
    assert order["fulfillment"] == {**empty, "carrier": "UPS", "trackingNumber": "1Z", "shippedAt": "2026-03-01"}


async def test_an_unknown_order_is_a_404_everywhere(system: OrderSystem) -> None:
    for answer in (
        await system.get("/api/orders/nope"),
        await system.get("/api/orders/nope/timeline"),
        await system.patch("nope", b'{"status":"Cancelled"}'),
    ):
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["field"] == "orderId"


async def test_orders_are_listed_newest_first_page_by_page(system: OrderSystem) -> None:
    ids = []
    for _ in range(5):
        ids.append((await system.post()).json()["orderId"])
        system.time.at += timedelta(seconds=1)
    listed: list[str] = []
    path = "/api/orders?limit=2"
    while path:
        page = (await system.get(path)).json()
        listed += [order["orderId"] for order in page["orders"]]
        path = f"/api/orders?limit=2&cursor={page['nextCursor']}" if page["nextCursor"] else ""
    assert listed == ids[::-1]


async def test_orders_are_listed_by_status_customer_and_text(system: OrderSystem) -> None:
    one = (await system.post()).json()["orderId"]
    other = (await system.post(WALKTHROUGH.replace(b"test-1", b"test-2"))).json()["orderId"]
    await system.patch(one, b'{"status":"Cancelled"}')

    async def found(query: str) -> list[str]:
        return [order["orderId"] for order in (await system.get(f"/api/orders?{query}")).json()["orders"]]

    assert await found("status=Pending") == [other]
    assert await found("customerId=test-1") == [one]
    assert await found(f"q={other[:8]}") == [other]
    assert await found("status=Pending&customerId=test-1") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("limit=-1", "limit"), ("cursor=!", "cursor")],
)
async def test_a_listing_that_cannot_be_is_a_400_that_names_the_parameter(
    system: OrderSystem, query: str, field: str
) -> None:
    answer = await system.get(f"/api/orders?{query}")
    assert (answer.status, answer.json()["field"]) == (400, field)


async def test_products_come_from_the_order_contexts_catalogue(system: OrderSystem) -> None:
    lamp = {"productId": "sku-1", "name": "Lamp", "price": "19.99", "available": 10}
    assert (await system.get("/api/products")).json() == {"products": [lamp]}
    assert (await system.get("/api/products/sku-1")).json() == lamp
    unknown = await system.get("/api/products/nope")
    assert (unknown.status, unknown.json()["field"]) == (404, "productId")


async def test_a_reader_sees_its_own_write_whatever_the_cache_held(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    for _ in range(3):
        await system.get(f"/api/orders/{order_id}")
    await system.patch(order_id, b'{"status":"Cancelled"}')
    assert (await system.get(f"/api/orders/{order_id}")).json()["status"] == "Compensating"


async def test_an_order_on_its_way_is_kept_for_a_second_and_one_at_its_end_for_the_ttl(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]

    async def set_and_get(status: str, phase: str) -> str:
        with system.engine.begin() as connection:
            data = connection.scalar(select(orders.c.data).where(orders.c.order_id == order_id))
            saga = msgspec.json.decode(data or "")
            saga["saga"]["word"] = status
            values = {"phase": phase, "data": msgspec.json.encode(saga).decode()}
            connection.execute(update(orders).values(**values))
        return str((await system.get(f"/api/orders/{order_id}")).json()["status"])

    assert await set_and_get("A", "forward") == "A"
    assert await set_and_get("B", "forward") == "A"
    system.time.at += timedelta(seconds=1)
    assert await set_and_get("C", "completed") == "C"
    system.time.at += timedelta(seconds=29)
    assert await set_and_get("D", "completed") == "C"
    system.time.at += timedelta(seconds=1)
    assert await set_and_get("E", "completed") == "E"


async def test_products_are_read_once_until_an_event_drops_them(system: OrderSystem) -> None:
    await system.get("/api/products/sku-1")
    with system.engine.begin() as connection:
        connection.execute(update(catalogue).values(price=Decimal("5.00")))
    assert (await system.get("/api/products/sku-1")).json()["price"] == "19.99"
    await system.cache.drop(["product:sku-1"])
    assert (await system.get("/api/products/sku-1")).json()["price"] == "5.00"
