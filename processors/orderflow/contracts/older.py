"""The shapes that earlier writers used, rewritten into today's.

Read are: the names that the requirements' documents use besides the canonical ones; the ``OrderCreatedEvent`` of the
order-processing documents (nested customer, no event id, no customer id of its own, no total, items without a price);
payloads that name no type, as the documents print them; keys that begin with a capital, as .NET writes them; and
versions written as numbers. Each rule is a row of a table here. What is rewritten is judged by today's types.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from orderflow.contracts.failures import InvalidPayload, UnknownMajor, UnknownType
from orderflow.contracts.identity import derive
from orderflow.contracts.money import ZERO
from orderflow.contracts.registry import TYPES, major_of
from orderflow.contracts.topics import TOPIC_OF

Fields = dict[str, Any]

ALIASES: Mapping[str, str] = {
    "OrderCreatedEvent": "OrderCreated",
    "OrderPlaced": "OrderCreated",
    "PaymentCaptured": "PaymentSucceeded",
}

PRINTED: Mapping[str, frozenset[str]] = {
    "OrderCreated": frozenset({"orderId", "items", "createdAt"}),
    "OrderCompleted": frozenset({"orderId", "completedAt"}),
    "OrderCancelled": frozenset({"orderId", "cancellationReason", "cancelledAt"}),
    "PaymentSucceeded": frozenset({"paymentId", "orderId", "amount", "processedAt"}),
    "PaymentFailed": frozenset({"paymentId", "orderId", "amount", "failureReason", "failedAt"}),
    "PaymentRefunded": frozenset({"refundId", "paymentId", "orderId", "amount", "refundedAt"}),
    "InventoryReserved": frozenset({"reservationId", "orderId", "items", "reservedAt"}),
    "InventoryFailed": frozenset({"orderId", "failureReason", "failedItems", "failedAt"}),
}
"""The events whose payloads the requirements print, without a type, by the fields that tell them apart on a topic."""


def _customer_id(order: Fields) -> Any:
    customer = order.get("customer")
    return customer.get("customerId") if isinstance(customer, dict) else None


def _total(order: Fields) -> Any:
    """What the items cost; 0.00 where that cannot be known."""
    try:
        return sum((Decimal(item["price"]) * item["quantity"] for item in order["items"]), ZERO)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return ZERO


def _priced_items(order: Fields) -> Any:
    items = order.get("items")
    if not isinstance(items, list):
        return items
    return [{"price": ZERO, **item} if isinstance(item, dict) else item for item in items]


SUPPLIED: Mapping[str, Mapping[str, Callable[[Fields], Any]]] = {
    "OrderCreated": {"customerId": _customer_id, "totalAmount": _total},
}
"""By type, the fields that older writers left out, and where their values come from, in this order."""
ADAPTED: Mapping[str, Mapping[str, Callable[[Fields], Any]]] = {"OrderCreated": {"items": _priced_items}}
"""By type, the fields that older writers wrote in another shape."""


def parsed(raw: bytes) -> Fields:
    """Return the JSON object in ``raw``; numbers with a fraction keep their digits.

    Raises:
        InvalidPayload: it is another JSON value.
        msgspec.DecodeError: it is no JSON; also UnicodeDecodeError and RecursionError.
    """
    value = _PARSER.decode(raw)
    if not isinstance(value, dict):
        raise InvalidPayload("expected an object")
    return value


def canonical_names(fields: Fields) -> Fields:
    """Return ``fields`` with .NET's capitalised keys as we write them: ``OrderId`` is ``orderId``.

    Left alone unless all keys are capitalised, so that no map with keys of its own is touched.
    """
    if all(key[:1].isupper() for key in fields):
        renamed: Fields = _uncapitalised(fields)
        return renamed
    return fields


def rewritten(fields: Fields, headers: Mapping[str, str], topic: str | None) -> Fields:
    """Return the payload in today's shape, as far as the rules above can bring it there.

    Raises:
        UnknownType: neither payload, headers nor topic say which type it is, or it is none of ours.
        UnknownMajor: it is of a major version that this revision does not read.
    """
    today: Fields = canonical_names(_without_nulls(fields))
    name = _type_name(today, headers, topic)
    today |= {"eventType": name, "schemaVersion": _version(today.get("schemaVersion"), TYPES[name].VERSION)}
    for field, value in SUPPLIED.get(name, {}).items():
        if field not in today:
            today[field] = value(today)
    for field, value in ADAPTED.get(name, {}).items():
        if field in today:
            today[field] = value(today)
    if "eventId" not in today:
        today["eventId"] = headers.get("ce_id") or derive("content", name, _content(fields))
    return _without_nulls(today)  # type: ignore[no-any-return]


def _type_name(fields: Fields, headers: Mapping[str, str], topic: str | None) -> str:
    given = fields.get("eventType") or headers.get("ce_type") or _fitting_type(fields, topic)
    if not isinstance(given, str):
        raise UnknownType("names no type of ours", "eventType")
    name = ALIASES.get(given, given)
    if name not in TYPES:
        raise UnknownType("names no type of ours", "eventType")
    return name


def _fitting_type(fields: Fields, topic: str | None) -> str | None:
    fitting = [name for name, needed in PRINTED.items() if TOPIC_OF[TYPES[name]] == topic and needed <= fields.keys()]
    return fitting[0] if len(fitting) == 1 else None


def _version(given: object, ours: str) -> str:
    if given is None:
        return ours
    text = str(given) if isinstance(given, str | int | Decimal) else ""
    if major_of(text) != major_of(ours):
        raise UnknownMajor(f"this revision reads major {major_of(ours)}", "schemaVersion")
    return text


def _content(fields: Fields) -> str:
    """What an id can be derived from: equal for equal content, whatever its spacing and order."""
    return msgspec.json.encode(fields, order="sorted").decode()


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [_without_nulls(inner) for inner in value]
    return value


def _uncapitalised(value: Any) -> Any:
    match value:
        case dict():
            return {key[:1].lower() + key[1:]: _uncapitalised(inner) for key, inner in value.items()}
        case list():
            return [_uncapitalised(inner) for inner in value]
    return value


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number is out of range") from None


_PARSER = msgspec.json.Decoder(float_hook=_number)
