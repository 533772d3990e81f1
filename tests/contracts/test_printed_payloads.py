"""The payloads that the requirements print, field for field, are messages as they stand there."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from orderflow.contracts.codec import decode, encode
from orderflow.contracts.registry import TYPES
from orderflow.contracts.schemas import schema_of
from orderflow.contracts.topics import TOPIC_OF

ORDER = "961b6d44-aadd-4318-8554-ef303d27f48d"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
WHEN = "2026-02-10T10:00:00Z"

PRINTED: dict[str, dict[str, Any]] = {
    "OrderCreated": {
        "orderId": ORDER,
        "customerId": "customer-1",
        "totalAmount": "59.97",
        "items": [{"productId": "sku-1", "quantity": 3, "price": "19.99"}],
        "createdAt": WHEN,
    },
    "PaymentSucceeded": {"paymentId": OTHER, "orderId": ORDER, "amount": "59.97", "processedAt": WHEN},
    "PaymentFailed": {
        "paymentId": OTHER,
        "orderId": ORDER,
        "amount": "59.97",
        "failureReason": "Card declined",
        "failedAt": WHEN,
    },
    "InventoryReserved": {
        "reservationId": OTHER,
        "orderId": ORDER,
        "items": [{"productId": "sku-1", "quantity": 3}],
        "reservedAt": WHEN,
    },
    "InventoryFailed": {
        "orderId": ORDER,
        "failureReason": "Out of stock",
        "failedItems": [{"productId": "sku-1", "requestedQuantity": 3, "availableQuantity": 1}],
        "failedAt": WHEN,
    },
    "PaymentRefunded": {
        "refundId": OTHER,
        "paymentId": OTHER,
        "orderId": ORDER,
        "amount": "59.97",
        "refundedAt": WHEN,
    },
    "OrderCompleted": {"orderId": ORDER, "completedAt": WHEN},
    "OrderCancelled": {"orderId": ORDER, "cancellationReason": "Payment failed", "cancelledAt": WHEN},
}
ENVELOPE = {"eventType", "eventId", "schemaVersion", "metadata"}
EVERY_EVENT = pytest.mark.parametrize("name", PRINTED)


@EVERY_EVENT
def test_the_printed_payload_is_read_and_written_under_the_same_names(name: str) -> None:
    message = decode(msgspec.json.encode({"eventType": name, "eventId": "e-1", **PRINTED[name]}))
    assert type(message) is TYPES[name]
    written = msgspec.json.decode(encode(message))
    assert {field: value for field, value in written.items() if field not in ENVELOPE} == PRINTED[name]
    assert written.keys() >= ENVELOPE


@EVERY_EVENT
def test_the_printed_payload_is_enough_on_its_topic(name: str) -> None:
    message = decode(msgspec.json.encode(PRINTED[name]), {}, TOPIC_OF[TYPES[name]])
    assert type(message) is TYPES[name]
    assert message.event_id


@EVERY_EVENT
def test_amounts_are_read_as_numbers_too(name: str) -> None:
    raw = msgspec.json.encode({"eventType": name, "eventId": "e-1", **PRINTED[name]})
    numbers = raw.replace(b'"59.97"', b"59.97").replace(b'"19.99"', b"19.99")
    assert decode(numbers) == decode(raw)


@EVERY_EVENT
def test_what_is_required_is_exactly_what_is_printed(name: str) -> None:
    assert set(schema_of(TYPES[name])["required"]) - {"eventType", "eventId"} == PRINTED[name].keys()


@EVERY_EVENT
def test_parts_of_a_payload_have_exactly_the_printed_fields(name: str) -> None:
    schema = schema_of(TYPES[name])
    for field, value in PRINTED[name].items():
        if isinstance(value, list):
            part = schema["$defs"][schema["properties"][field]["items"]["$ref"].rpartition("/")[2]]
            assert part["properties"].keys() == set(part["required"]) == value[0].keys()


@EVERY_EVENT
def test_the_printed_payload_obeys_the_committed_schema(name: str) -> None:
    validator = Draft202012Validator(schema_of(TYPES[name]), format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate({"eventType": name, "eventId": "e-1", **PRINTED[name]})
    for field in PRINTED[name]:
        without = {other: value for other, value in PRINTED[name].items() if other != field}
        assert not validator.is_valid({"eventType": name, "eventId": "e-1", **without})
