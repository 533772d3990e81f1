"""What is read, what is refused, and how the refusal speaks."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderflow.contracts import commands, events
from orderflow.contracts.codec import (
    Identified,
    InvalidPayload,
    MissingField,
    Undecodable,
    UnknownMajor,
    UnknownType,
    Unreadable,
    decode,
    encode,
    identify,
)
from orderflow.contracts.items import PricedItem

NOON = "2026-02-10T12:00:00Z"
COMPLETED: dict[str, Any] = {"eventType": "OrderCompleted", "eventId": "e-1", "orderId": "o-1", "completedAt": NOON}
CHARGE: dict[str, Any] = {
    "eventType": "OrderPaymentRequested",
    "eventId": "e-1",
    "orderId": "o-1",
    "requestId": "r-1",
    "customerId": "c-1",
    "amount": "10.00",
    "requestedAt": NOON,
}
ORDER: dict[str, Any] = {
    "eventType": "CreateOrder",
    "eventId": "e-1",
    "orderId": "o-1",
    "customerId": "c-1",
    "customer": {"customerId": "c-1", "name": "Ann Smith"},
    "items": [{"productId": "p-1", "quantity": 1}],
    "requestedAt": NOON,
}
SHORT: dict[str, Any] = {
    "eventType": "InventoryFailed",
    "eventId": "e-1",
    "orderId": "o-1",
    "failureReason": "too little",
    "failedItems": [{"productId": "p-1", "requestedQuantity": 2, "availableQuantity": 0}],
    "failedAt": NOON,
}


def as_json(fields: dict[str, Any], **changed: Any) -> bytes:
    return msgspec.json.encode(fields | changed)


def refusal(raw: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        decode(raw)
    return caught.value


def charge_of(amount: str) -> bytes:
    """With ``amount`` as it is, so that JSON numbers can be written digit by digit."""
    return as_json(CHARGE, amount="?").replace(b'"?"', amount.encode())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"10.00"', "10.00"),
        ('"10"', "10.00"),
        ("10", "10.00"),
        ("10.5", "10.50"),
        ("0.1", "0.10"),
        ("1e2", "100.00"),
        ('"0"', "0.00"),
        ('"-0"', "0.00"),
        ("-0.0", "0.00"),
        ('"10.000"', "10.00"),
        ("9999999999.99", "9999999999.99"),
    ],
)
def test_an_amount_is_read_from_string_or_number_and_written_with_two_places(written: str, read: str) -> None:
    message = decode(charge_of(written))
    assert isinstance(message, commands.OrderPaymentRequested)
    assert str(message.amount) == read
    assert msgspec.json.decode(encode(message))["amount"] == read


@pytest.mark.parametrize(
    "written",
    [
        "10.005",
        '"0.001"',
        "-1",
        '"-0.01"',
        "10000000000",
        '"1e400"',
        "1e-400",
        '"NaN"',
        '"-NaN"',
        '"sNaN"',
        '"Infinity"',
        '"-inf"',
        '"1e99999999999999999999"',
        "1e99999999999999999999",
        "1" * 40,
        "1" * 5000,
        "0." + "1" * 5000,
        '"ten"',
        '""',
        "true",
        "null",
        "[]",
    ],
)
def test_what_is_no_amount_is_refused_by_its_field(written: str) -> None:
    failure = refusal(charge_of(written))
    assert (failure.cause, failure.field) == ("invalid", "amount")


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "01", ".5", "1."])
def test_what_is_no_json_number_is_undecodable(written: str) -> None:
    assert refusal(charge_of(written)).cause == "undecodable"


def test_decisions_cannot_make_a_message_that_readers_would_refuse() -> None:
    with pytest.raises(ValueError, match=r"^price: expected an amount with at most two decimal places$"):
        PricedItem(product_id="p", quantity=1, price=Decimal("1.001"))
    with pytest.raises(ValueError, match=r"^price: an amount is not negative$"):
        PricedItem(product_id="p", quantity=1, price=Decimal(-1))
    assert str(PricedItem(product_id="p", quantity=1, price=Decimal(1)).price) == "1.00"


@pytest.mark.parametrize(
    "written",
    [NOON, "2026-02-10T12:00:00", "2026-02-10 12:00:00", "2026-02-10T14:00:00+02:00", "2026-02-10T12:00:00.000000Z"],
)
def test_a_moment_is_read_as_utc(written: str) -> None:
    message = decode(as_json(COMPLETED, completedAt=written))
    assert isinstance(message, events.OrderCompleted)
    assert message.completed_at == message.occurred_at == datetime(2026, 2, 10, 12, tzinfo=UTC)
    assert message.completed_at.tzinfo is UTC
    assert msgspec.json.decode(encode(message))["completedAt"] == NOON


@pytest.mark.parametrize("written", ["yesterday", "", "2026-02-30T12:00:00Z", 1770724800, "0001-01-01T00:00:00+05:00"])
def test_what_is_no_moment_is_refused_by_its_field(written: object) -> None:
    failure = refusal(as_json(COMPLETED, completedAt=written))
    assert (failure.cause, failure.field) == ("invalid", "completedAt")


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "1", True, None, 2**31, 10**30])
def test_a_quantity_is_a_positive_integer(quantity: object) -> None:
    failure = refusal(as_json(ORDER, items=[{"productId": "p", "quantity": quantity}]))
    assert (failure.cause, failure.field) == ("invalid", "items[0].quantity")


@pytest.mark.parametrize("available", [-1, 0.5, 2**31])
def test_a_count_is_not_negative(available: object) -> None:
    item = {"productId": "p", "requestedQuantity": 1, "availableQuantity": available}
    assert refusal(as_json(SHORT, failedItems=[item])).field == "failedItems[0].availableQuantity"


@pytest.mark.parametrize(
    ("field", "longest"), [("eventId", 200), ("orderId", 64), ("requestId", 64), ("customerId", 64)]
)
def test_identifiers_fit_their_columns(field: str, longest: int) -> None:
    assert decode(as_json(CHARGE, **{field: "x" * longest}))
    for wrong in ("", "x" * (longest + 1), 5, ["x"]):
        failure = refusal(as_json(CHARGE, **{field: wrong}))
        assert (failure.cause, failure.field) == ("invalid", field), wrong


def test_an_order_has_between_one_and_a_hundred_lines() -> None:
    assert decode(as_json(ORDER, items=ORDER["items"] * 100))
    assert refusal(as_json(ORDER, items=[])).field == "items"
    assert refusal(as_json(ORDER, items=ORDER["items"] * 101)).field == "items"


def test_a_message_about_an_order_names_it() -> None:
    missing = dict(COMPLETED)
    del missing["orderId"]
    for raw in (as_json(missing), as_json(COMPLETED, orderId="")):
        failure = refusal(raw)
        assert isinstance(failure, MissingField)
        assert str(failure) == "orderId: is missing"


def test_a_message_about_no_order_needs_none() -> None:
    window = {"eventType": "WindowDue", "eventId": "e", "windowStart": NOON, "windowSeconds": 60, "dueAt": NOON}
    assert decode(as_json(window)).key == NOON


def test_a_field_that_is_missing_is_named() -> None:
    nameless = [{"quantity": 1}]
    failure = refusal(as_json(ORDER, items=nameless))
    assert isinstance(failure, MissingField)
    assert isinstance(failure, InvalidPayload)
    assert str(failure) == "items[0].productId: is missing"


@pytest.mark.parametrize("name", ["OrderEaten", "orderCompleted", "", 5, None, ["OrderCompleted"], {"a": 1}])
def test_an_unknown_type_is_refused_as_such(name: object) -> None:
    failure = refusal(as_json(COMPLETED, eventType=name))
    assert isinstance(failure, UnknownType)
    assert failure.cause == "unknown-type"


@pytest.mark.parametrize("version", ["1", "1.0", "1.3", "1.99", 1, 1.3, None])
def test_every_minor_version_of_a_known_major_is_read(version: object) -> None:
    assert decode(as_json(COMPLETED, schemaVersion=version)).order_id == "o-1"


@pytest.mark.parametrize("version", ["2", "2.0", "0", "11.0", 2, 2.1, 10, -1, "", "one", "v1", True, [1], {"major": 1}])
def test_any_other_major_is_refused_as_such(version: object) -> None:
    failure = refusal(as_json(COMPLETED, schemaVersion=version))
    assert isinstance(failure, UnknownMajor)
    assert failure.cause == "unknown-major"


def test_an_unknown_major_is_told_before_what_is_missing_from_it() -> None:
    assert refusal(b'{"eventType":"OrderCompleted","schemaVersion":"2.0","id":"e"}').cause == "unknown-major"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"\x00\x01\x02",
        b"{",
        b'{"eventType":"OrderCompleted"',
        b"{'eventType':'OrderCompleted'}",
        as_json(COMPLETED)[:-5],
        as_json(COMPLETED) + b"x",
        as_json(COMPLETED).replace(b"e-1", b"\xff\xfe"),
        as_json(COMPLETED).replace(b"e-1", b"\\ud800"),
        as_json(COMPLETED).replace(b"e-1", b"a\nb"),
        as_json(COMPLETED).decode().encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"eventType":' * 100_000,
        as_json(COMPLETED)[:-1] + b',"later":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        as_json(COMPLETED, orderId=1)[:-1] + b',"later":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    ],
)
def test_what_is_no_json_is_undecodable(raw: bytes) -> None:
    failure = refusal(raw)
    assert failure.cause in {"undecodable", "invalid"}
    assert isinstance(failure, Undecodable) or raw.startswith(b"[")


@pytest.mark.parametrize("raw", [b"null", b"5", b'"text"', b"[]", b"true"])
def test_what_is_json_but_no_object_is_invalid(raw: bytes) -> None:
    assert str(refusal(raw)) == "expected an object"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"eventId": "e\0"}, "eventId"),
        ({"customerId": "\0"}, "customerId"),
        ({"metadata": {"correlationId": "a\0"}}, "metadata.correlationId"),
        ({"customer": {"customerId": "c", "name": "A\0"}}, "customer.name"),
        ({"items": [{"productId": "p\0", "quantity": 1}]}, "items[0].productId"),
    ],
)
def test_a_text_that_postgresql_cannot_store_is_refused(changed: dict[str, Any], field: str) -> None:
    failure = refusal(as_json(ORDER, **changed))
    assert (failure.cause, failure.field) == ("invalid", field)


def test_a_backslash_before_u0000_is_just_text() -> None:
    assert decode(as_json(COMPLETED, eventId="e\\u0000")).event_id == "e\\u0000"


def test_zero_bytes_in_fields_that_nobody_reads_do_not_matter() -> None:
    assert decode(as_json(COMPLETED, later="\0")).event_id == "e-1"


SECRET = "Ann.Smith@example.org"


@pytest.mark.parametrize(
    "fields",
    [
        COMPLETED | {"eventType": SECRET},
        COMPLETED | {"schemaVersion": SECRET},
        COMPLETED | {"completedAt": SECRET},
        COMPLETED | {"eventId": SECRET * 20},
        COMPLETED | {"eventId": {SECRET: SECRET}},
        COMPLETED | {"metadata": SECRET},
        CHARGE | {"amount": SECRET},
        CHARGE | {"attempt": SECRET},
        CHARGE | {"eventType": "ChargeAnswered", "status": SECRET},
        ORDER | {"customer": {SECRET: SECRET}},
        ORDER | {"items": SECRET},
        {"eventType": "SendNotification", "parameters": {SECRET: 5}},
        {"eventType": "SendNotification", "channels": [{"channel": SECRET}]},
        {"eventType": "SendNotification", "channels": [{"channel": "x' - at `$." + SECRET + "`"}]},
        {SECRET: SECRET},
    ],
)
def test_a_refusal_says_where_and_never_what_stood_there(fields: dict[str, Any]) -> None:
    failure = refusal(as_json(fields))
    for said in (str(failure), failure.field, failure.reason, repr(failure)):
        assert SECRET not in said
        assert "Ann" not in said
    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None


def test_the_plan_of_an_order_goes_through_byte_for_byte() -> None:
    raw = as_json(ORDER)[:-1] + b',"plan":{"steps" : [1.10, 2]}}'
    message = decode(raw)
    assert isinstance(message, commands.CreateOrder)
    assert isinstance(message.plan, msgspec.Raw)
    assert bytes(message.plan) == b'{"steps" : [1.10, 2]}'
    assert b'{"steps" : [1.10, 2]}' in encode(message)


@pytest.mark.parametrize("raw", [as_json(ORDER), as_json(ORDER)[:-1] + b',"plan":null}'])
def test_an_order_without_a_plan_has_none(raw: bytes) -> None:
    message = decode(raw)
    assert isinstance(message, commands.CreateOrder)
    assert message.plan is msgspec.UNSET
    assert b"plan" not in encode(message)


def test_equal_messages_give_equal_bytes_whatever_the_order_of_their_maps() -> None:
    ours = {"b": "2", "a": "1"}
    theirs = {"a": "1", "b": "2"}
    fields = {
        "eventType": "SendNotification",
        "eventId": "e",
        "orderId": "o",
        "notificationId": "n",
        "template": "t",
        "recipient": {"customerId": "c"},
        "channels": [],
        "requestedAt": NOON,
    }
    assert encode(decode(as_json(fields, parameters=ours))) == encode(decode(as_json(fields, parameters=theirs)))


@pytest.mark.parametrize(
    ("figure", "readable"),
    [
        ("1.5", True),
        ("17", True),
        ("NaN", False),
        ("Infinity", False),
        ("1e30", False),
        ("1e2", False),
        ("-3.25", True),
    ],
)
def test_figures_are_finite_and_bounded(figure: str, *, readable: bool) -> None:
    raw = as_json(
        {
            "eventType": "AnalyticsProcessed",
            "eventId": "e",
            "windowStart": NOON,
            "windowSeconds": 60,
            "metrics": {"orders": figure},
            "processedAt": NOON,
        }
    )
    if readable:
        assert decode(raw)
    else:
        assert refusal(raw).field == "metrics"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (as_json(COMPLETED, eventType="OrderEaten"), Identified("e-1", "OrderEaten", "o-1")),
        (as_json(COMPLETED, completedAt=5), Identified("e-1", "OrderCompleted", "o-1")),
        (as_json(COMPLETED)[:-9], Identified("e-1", "OrderCompleted", "o-1")),
        (as_json(COMPLETED, eventId="x" * 201), Identified(None, "OrderCompleted", "o-1")),
        (as_json(COMPLETED, orderId="x" * 65), Identified("e-1", "OrderCompleted", None)),
        (as_json(COMPLETED, eventId="\0", orderId=5), Identified(None, "OrderCompleted", None)),
        (as_json(COMPLETED).replace(b"e-1", b"\xff"), Identified(None, "OrderCompleted", "o-1")),
        (as_json(COMPLETED)[:-1] + b',"x":' + b"[" * 100_000, Identified("e-1", "OrderCompleted", "o-1")),
        (b'{"EventId":"e-1","OrderId":"o-1"}', Identified("e-1", None, "o-1")),
        (b'{"EventId":"e-1","OrderId":"o-1"', Identified("e-1", None, "o-1")),
        (b"[1,2]", Identified()),
        (b"", Identified()),
        (b"\xff\x00", Identified()),
    ],
)
def test_a_broken_message_is_identified_as_far_as_can_be(raw: bytes, found: Identified) -> None:
    assert identify(raw) == found
