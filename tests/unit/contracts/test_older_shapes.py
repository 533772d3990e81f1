"""The shapes that earlier writers used are read as today's messages."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderflow.contracts.codec import Unreadable, decode, encode
from orderflow.contracts.events import OrderCreated, PaymentSucceeded
from orderflow.contracts.items import Customer, PricedItem
from orderflow.contracts.topics import ORDER_EVENTS, PAYMENT_EVENTS

ORDER_ID = "961b6d44-aadd-4318-8554-ef303d27f48d"
OLD: dict[str, Any] = {
    "eventType": "OrderCreated",
    "orderId": ORDER_ID,
    "customer": {"customerId": "test-1", "name": "Test"},
    "items": [{"productId": "sku-1", "quantity": 1}],
    "createdAt": "2026-02-10T10:00:00Z",
    "metadata": {"source": "OrderService", "correlationId": "abc-def-123"},
}
DOT_NET: dict[str, Any] = {
    "EventType": "OrderCreatedEvent",
    "OrderId": ORDER_ID,
    "Customer": {"CustomerId": "test-1", "Name": "Test"},
    "Items": [{"ProductId": "sku-1", "Quantity": 1}],
    "CreatedAt": "2026-02-10T10:00:00Z",
    "Metadata": {"Source": "OrderService", "CorrelationId": "abc-def-123"},
}


def as_json(fields: dict[str, Any], **changed: Any) -> bytes:
    return msgspec.json.encode(fields | changed)


def order(raw: bytes, headers: dict[str, str] | None = None, topic: str | None = None) -> OrderCreated:
    message = decode(raw, headers, topic)
    assert isinstance(message, OrderCreated)
    return message


@pytest.mark.parametrize("name", ["OrderCreated", "OrderCreatedEvent", "OrderPlaced"])
def test_the_event_of_the_order_processing_documents_is_an_order_created(name: str) -> None:
    message = order(as_json(OLD, eventType=name))
    assert message.order_id == ORDER_ID
    assert message.customer_id == "test-1"
    assert message.customer == Customer(customer_id="test-1", name="Test")
    assert message.items == (PricedItem(product_id="sku-1", quantity=1, price=Decimal("0.00")),)
    assert message.total_amount == 0
    assert (message.metadata.source, message.metadata.correlation_id) == ("OrderService", "abc-def-123")


def test_it_is_also_read_with_the_keys_that_dot_net_writes() -> None:
    assert msgspec.structs.replace(order(as_json(DOT_NET)), event_id="e") == msgspec.structs.replace(
        order(as_json(OLD)), event_id="e"
    )


def test_a_given_event_id_stays() -> None:
    assert decode(as_json(OLD, eventId="abc-123")).event_id == "abc-123"


def test_the_event_id_in_the_headers_counts_where_the_payload_has_none() -> None:
    assert decode(as_json(OLD), {"ce_id": "abc-123"}).event_id == "abc-123"


def test_a_missing_event_id_follows_from_the_content() -> None:
    known = order(as_json(OLD)).event_id
    assert known == "2c0a2f40-c739-5f5a-bf16-0830e1a66165", "it is this one for ever: inboxes remember it"
    assert order(as_json(dict(reversed(OLD.items())))).event_id == known
    assert order(as_json(OLD, orderId="another")).event_id != known
    assert order(as_json(OLD, metadata={"correlationId": "another"})).event_id != known


def test_nulls_are_as_good_as_absent() -> None:
    assert order(as_json(OLD, eventId=None, customerId=None, totalAmount=None, schemaVersion=None)).customer_id


def test_a_missing_total_is_the_sum_of_the_prices() -> None:
    items = [{"productId": "a", "quantity": 3, "price": 1.10}, {"productId": "b", "quantity": 1, "price": "0.05"}]
    assert str(order(as_json(OLD, items=items)).total_amount) == "3.35"


def test_a_total_that_cannot_be_known_is_zero() -> None:
    items = [{"productId": "a", "quantity": 3, "price": 1.10}, {"productId": "b", "quantity": 1}]
    assert str(order(as_json(OLD, items=items)).total_amount) == "0.00"


def test_a_given_total_and_customer_stay() -> None:
    message = order(as_json(OLD, totalAmount=12.5, customerId="other"))
    assert (str(message.total_amount), message.customer_id) == ("12.50", "other")


def test_a_payment_captured_is_a_payment_succeeded() -> None:
    message = decode(
        as_json(
            {
                "eventType": "PaymentCaptured",
                "eventId": "e",
                "orderId": "o",
                "paymentId": "p",
                "amount": 5,
                "processedAt": "2026-02-10T10:00:00Z",
            }
        )
    )
    assert isinstance(message, PaymentSucceeded)
    assert msgspec.json.decode(encode(message))["eventType"] == "PaymentSucceeded"


def test_a_type_in_the_headers_counts_where_the_payload_names_none() -> None:
    untyped = {key: value for key, value in OLD.items() if key != "eventType"}
    assert order(as_json(untyped), {"ce_type": "OrderPlaced"}).order_id == ORDER_ID


def test_a_payload_that_names_no_type_is_the_one_that_fits_on_its_topic() -> None:
    untyped = {key: value for key, value in OLD.items() if key != "eventType"}
    assert order(as_json(untyped), {}, ORDER_EVENTS).order_id == ORDER_ID
    for topic in (None, PAYMENT_EVENTS):
        with pytest.raises(Unreadable) as caught:
            decode(as_json(untyped), {}, topic)
        assert caught.value.cause == "unknown-type"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"items": [{"productId": "sku-1", "quantity": 0}]}, "items[0].quantity"),
        ({"items": [{"productId": "sku-1"}]}, "items[0].quantity"),
        ({"items": "sku-1"}, "items"),
        ({"items": None}, "items"),
        ({"items": ["sku-1"]}, "items[0]"),
        ({"createdAt": None}, "createdAt"),
        ({"customer": None}, "customerId"),
        ({"customer": "test-1"}, "customer"),
        ({"items": [{"productId": "a", "quantity": 10**18, "price": "1e900"}]}, "items[0].quantity"),
        ({"items": [{"productId": "a", "quantity": 5, "price": "9999999999.99"}]}, "totalAmount"),
    ],
)
def test_an_older_shape_is_judged_by_todays_types(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(as_json(OLD, **changed))
    assert (caught.value.cause, caught.value.field) == ("invalid", field)


def test_keys_of_maps_are_left_as_they_are() -> None:
    raw = as_json(
        {
            "eventType": "SendNotification",
            "orderId": "o",
            "notificationId": "n",
            "template": "t",
            "parameters": {"Capital": "x"},
            "recipient": {"customerId": "c"},
            "channels": [],
            "requestedAt": "2026-02-10T10:00:00Z",
        }
    )
    assert msgspec.json.decode(encode(decode(raw)))["parameters"] == {"Capital": "x"}
