"""Personal data does not leave in dead letters, logs or analytics."""

from typing import Any

import msgspec
import pytest

from orderflow.contracts.masking import masked, sounds_personal
from orderflow.contracts.registry import TYPES, personal_fields

ORDER: dict[str, Any] = {
    "eventType": "CreateOrder",
    "eventId": "e",
    "orderId": "o",
    "customerId": "c",
    "customer": {"customerId": "c", "name": "Ann Smith"},
    "items": [{"productId": "p", "quantity": 1, "price": "1.00"}],
    "recipient": {"customerId": "c", "email": "ann@example.org", "phone": "+49 30 1", "pushToken": "tok-1"},
    "requestedAt": "2026-02-10T12:00:00Z",
    "plan": {"steps": [{"name": "payment"}]},
}
SECRETS = ("Ann", "Smith", "ann@", "example.org", "+49 30 1", "tok-1")


def read(raw: bytes) -> Any:
    return msgspec.json.decode(masked(raw))


def test_the_fields_that_the_contract_marks_are_masked_and_no_others() -> None:
    assert read(msgspec.json.encode(ORDER)) == ORDER | {
        "customer": {"customerId": "c", "name": "***"},
        "recipient": {"customerId": "c", "email": "***", "phone": "***", "pushToken": "***"},
    }


def test_the_marks_are_these() -> None:
    assert {name: personal_fields(kind) for name, kind in TYPES.items() if personal_fields(kind)} == {
        "CreateOrder": {"customer.name", "recipient.email", "recipient.phone", "recipient.pushToken"},
        "OrderCreated": {"customer.name"},
        "OrderFulfillmentRequested": {"customer.name"},
        "SendNotification": {"recipient.email", "recipient.phone", "recipient.pushToken"},
    }


def test_the_name_of_a_product_is_no_personal_data() -> None:
    product = {"eventType": "ProductChanged", "productId": "p", "name": "Lamp"}
    assert read(msgspec.json.encode(product)) == product


def test_what_a_map_holds_is_masked_by_its_key() -> None:
    notice = {"eventType": "SendNotification", "parameters": {"customerName": "Ann", "carrier": "Swift"}}
    assert read(msgspec.json.encode(notice))["parameters"] == {"customerName": "***", "carrier": "Swift"}


@pytest.mark.parametrize("name", ["OrderCreated", "OrderPlaced", "OrderCreatedEvent", "Unheard", None, 5])
def test_fields_that_no_contract_names_are_masked_by_their_key(name: object) -> None:
    strange = {
        "eventType": name,
        "shippingAddress": {"street": "Main 1", "lines": ["Ann"]},
        "contacts": [{"e-mail": "ann@example.org", "PHONE_NUMBER": "1", "kind": "home"}],
        "weight": 5,
        "email": None,
    }
    assert read(msgspec.json.encode(strange)) == strange | {
        "shippingAddress": "***",
        "contacts": [{"e-mail": "***", "PHONE_NUMBER": "***", "kind": "home"}],
    }


def test_the_keys_of_dot_net_are_understood() -> None:
    order = {"OrderId": "o", "Customer": {"CustomerId": "c", "Name": "Ann"}}
    assert read(msgspec.json.encode(order)) == {"OrderId": "o", "Customer": {"CustomerId": "c", "Name": "***"}}


def test_a_marked_field_is_masked_whatever_it_holds() -> None:
    for held in (["Ann"], {"first": "Ann"}, 5, "Ann", ""):
        assert read(msgspec.json.encode(ORDER | {"customer": {"name": held}}))["customer"] == {"name": "***"}


def test_what_stands_where_it_does_not_belong_is_masked_by_its_key() -> None:
    order = ORDER | {"orderId": {"email": "ann@example.org"}, "items": {"name": "Ann"}}
    assert read(msgspec.json.encode(order)) | {"recipient": None, "customer": None} == ORDER | {
        "orderId": {"email": "***"},
        "items": {"name": "***"},
        "recipient": None,
        "customer": None,
    }


def test_the_first_of_two_equal_keys_does_not_hide_anything() -> None:
    assert b"Ann" not in masked(b'{"customer":{"name":"Ann"},"customer":{"customerId":"c"}}')


def test_numbers_keep_their_digits() -> None:
    assert masked(b'{"amount":1.10,"big":123456789012345678901234567890.50}') == (
        b'{"amount":1.10,"big":123456789012345678901234567890.50}'
    )


WHOLE = msgspec.json.encode(ORDER)


def test_a_message_cut_off_anywhere_shows_no_personal_data() -> None:
    for length in range(len(WHOLE)):
        hidden = masked(WHOLE[:length])
        assert not [secret for secret in SECRETS if secret.encode() in hidden], length


@pytest.mark.parametrize(
    "raw",
    [
        WHOLE + b"}",
        b"x" + WHOLE,
        WHOLE.replace(b'"eventId":"e"', b'"eventId":"e'),
        WHOLE.replace(b'"', b"'"),
        WHOLE.replace(b'"name":"Ann Smith"', b'"name":"Ann \\" Smith \xff"'),
        WHOLE.replace(b'"name":"Ann Smith"', b'"name" : {"first": "Ann", "last": ["Smith"'),
        WHOLE.replace(b'"name":"Ann Smith"', b'"name": Ann Smith'),
        b"name=Ann Smith&email=ann@example.org",
        b"{name: Ann Smith, email: ann@example.org",
        str(ORDER).encode(),
        WHOLE.decode().encode("utf-16"),
        WHOLE.decode().encode("utf-32-be"),
        b"\x00\x12Ann Smith",
        WHOLE[:-1] + b',"later":' + b"[" * 100_000,
        WHOLE[:-1] + b',"later":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_is_masked_by_key(raw: bytes) -> None:
    hidden = masked(raw)
    assert not [secret for secret in SECRETS if secret.encode() in hidden]


def test_what_is_no_json_keeps_what_names_it() -> None:
    hidden = masked(WHOLE + b"}")
    assert b'"eventId":"e"' in hidden
    assert b'"quantity":1' in hidden


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"plain text", b"5"])
def test_what_holds_no_keys_stays(raw: bytes) -> None:
    assert masked(raw) == raw


@pytest.mark.parametrize("key", ["name", "Name", "customer_name", "e-mail", "EMAIL", "billingAddress", "pushToken"])
def test_these_keys_sound_personal(key: str) -> None:
    assert sounds_personal(key)


@pytest.mark.parametrize("key", ["orderId", "amount", "status", "carrier", "productId", "eventType", "names"])
def test_these_keys_do_not(key: str) -> None:
    assert not sounds_personal(key)
