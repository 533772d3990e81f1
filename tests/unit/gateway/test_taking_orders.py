import pytest

from api.asgi import ask
from api.order_system import OrderSystem
from orderflow.contexts.order.tables import orders
from orderflow.runtime.schema import outbox


async def test_the_walkthroughs_curl_call_is_answered_200_with_the_order(system: OrderSystem) -> None:
    answer = await system.post()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    order = answer.json()
    assert len(order["orderId"]) == 36
    assert (order["status"], order["flow"], order["total"]) == ("Pending", "order-to-delivery", "19.99")
    assert (order["customerId"], order["customerName"]) == ("test-1", "Test")
    assert order["createdAt"] == "2026-03-01T12:00:00Z"


async def test_order_and_messages_are_stored_together_and_handed_over_after_the_commit(system: OrderSystem) -> None:
    await system.post()
    assert system.count(orders) == 1
    assert [row.event_type for row in system.published.rows] == ["OrderCreated", "OrderPaymentRequested"]
    assert system.count(outbox) == len(system.published.rows)


async def test_post_orders_is_answered_201_with_its_location(system: OrderSystem) -> None:
    answer = await system.post(path="/orders", key="k-1")
    assert answer.status == 201
    location = answer.headers["location"]
    assert location == f"/api/orders/{answer.json()['orderId']}"
    assert (await system.get(location)).json() == answer.json()


async def test_post_orders_without_a_key_is_a_400_and_stores_nothing(system: OrderSystem) -> None:
    answer = await system.post(path="/orders")
    assert (answer.status, answer.json()["field"]) == (400, "Idempotency-Key")
    assert not any(system.stored())


async def test_the_flow_in_the_body_chooses_another_flow(system: OrderSystem) -> None:
    body = b'{"customerId":"c","flow":"reserve-first","items":[{"productId":"sku-1","quantity":2}]}'
    order = (await system.post(body)).json()
    assert (order["flow"], order["status"], order["total"]) == ("reserve-first", "CREATED", "39.98")


async def test_the_customer_may_be_nested_and_items_may_have_their_price(system: OrderSystem) -> None:
    body = b"""{"customer": {"customerId": "c", "name": "Erika"}, "tenant": "acme",
        "recipient": {"email": "e@example.org", "phone": "1", "pushToken": "t"},
        "items": [{"productId": "unlisted", "quantity": 3, "price": 1.5}]}"""
    order = (await system.post(body)).json()
    assert (order["customerId"], order["customerName"], order["total"]) == ("c", "Erika", "4.50")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b'{"x":"' + b"x" * 65536 + b'"}', 413, "body"),
        (b'{"items":[{"productId":"sku-1","quantity":1}]}', 422, "customerId"),
        (b'{"customerId":"a","customer":{"customerId":"b"},"items":[{"productId":"sku-1","quantity":1}]}', 422,
         "customerId"),
        (b'{"customerId":"c","items":[{"productId":"sku-1","quantity":0}]}', 422, "items[0].quantity"),
        (b'{"customerId":"c","items":[]}', 422, "items"),
        (b'{"customerId":"c","items":[' + b",".join([b'{"productId":"sku-1","quantity":1}'] * 101) + b"]}", 422,
         "items"),
        (b'{"customerId":"c","items":[{"productId":"sku-1","quantity":1},{"productId":"nope","quantity":1}]}', 422,
         "items[1].productId"),
        (b'{"customerId":"c","items":[{"productId":"x","quantity":2,"price":"9999999999.99"}]}', 422, "items"),
        (b'{"customerId":"c","items":[{"productId":"x","quantity":1,"price":"10000000000.00"}]}', 422,
         "items[0].price"),
        (b'{"customerId":"c","flow":"nope","items":[{"productId":"sku-1","quantity":1}]}', 422, "flow"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, "k-1"], ids=["no key", "key"])
async def test_bad_input_is_a_problem_that_names_the_field_and_stores_nothing(
    system: OrderSystem, body: bytes, status: int, field: str, key: str | None
) -> None:
    answer = await system.post(body, key=key)
    problem = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (problem["status"], problem["field"], problem["instance"]) == (status, field, "/api/orders")
    assert problem["errors"] == [{"field": field, "detail": problem["detail"]}]
    assert set(problem) == {"type", "title", "status", "detail", "instance", "field", "errors"}
    assert not any(system.stored())
    assert not system.published.rows


async def test_a_body_over_64_kib_in_chunks_is_refused_too(system: OrderSystem) -> None:
    answer = await ask(system.app, "POST", "/api/orders", [b" " * 8192] * 9)
    assert answer.status == 413


async def test_a_total_of_exactly_twelve_digits_is_taken(system: OrderSystem) -> None:
    body = b'{"customerId":"c","items":[{"productId":"x","quantity":1,"price":"9999999999.99"}]}'
    assert (await system.post(body)).json()["total"] == "9999999999.99"
