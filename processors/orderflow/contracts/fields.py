"""What the fields of messages may hold, said once.

Lengths and ranges are msgspec constraints, held on reading; they keep every value within the SQL column it ends in.
What those cannot say is a *reading*: a function in the type's ``Meta.extra`` that returns the value in its one form
(amounts with two places, moments in UTC) or raises. Readings are held whenever a struct is made, by a reader or by a
decision, so that equal messages give equal bytes and what is written can be read.

Every text is bounded. U+0000, which PostgreSQL stores in no text, is refused by :mod:`.codec`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from orderflow.contracts.money import LARGEST_TOTAL, ZERO, amount

LARGEST_INTEGER = 2**31 - 1
"""Of an SQL INTEGER."""
LARGEST_FIGURE = Decimal(10) ** 18


class Checked(msgspec.Struct, frozen=True):
    """Base of the structs whose fields have readings.

    Raises:
        ValueError: on construction, ``<field>: <what is wrong>``, without the value, which may be personal.
    """

    def __post_init__(self) -> None:
        for name, wire_name, reading in _readings(type(self)):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                read = reading(value)
            except ValueError as error:
                raise ValueError(f"{wire_name}: {error}") from None
            if read is not value:
                msgspec.structs.force_setattr(self, name, read)


def _amount(value: Decimal) -> Decimal:
    try:
        exact = amount(value)
    except (ValueError, TypeError):
        raise ValueError("expected an amount with at most two decimal places") from None
    if exact < 0:
        raise ValueError("an amount is not negative")
    if exact > LARGEST_TOTAL:
        raise ValueError(f"an amount is at most {LARGEST_TOTAL}")
    return exact or ZERO


def _moment(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment lies between the years 1 and 9999 in UTC") from None


def _figures(values: dict[str, Decimal]) -> dict[str, Decimal]:
    for value in values.values():
        if not value.is_finite() or abs(value) >= LARGEST_FIGURE or value.as_tuple().exponent not in range(-9, 1):
            raise ValueError("a figure has at most 18 digits before the point and nine after it")
    return values


def _plan(value: msgspec.Raw | msgspec.UnsetType) -> msgspec.Raw | msgspec.UnsetType:
    return msgspec.UNSET if value is msgspec.UNSET or bytes(value) in {b"", b"null"} else value


Id = Annotated[str, Meta(min_length=1, max_length=64)]
"""Names one thing: a payment, a product, a request."""
EventId = Annotated[str, Meta(min_length=1, max_length=200)]
OrderId = Annotated[str, Meta(max_length=64)]
"""Empty only in messages that concern no order."""
Name = Annotated[str, Meta(max_length=64)]
"""Of something in the system: a context, a flow, a step, a tenant, a status."""
Label = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=10_000)]
"""A reason or an explanation; it ends in TEXT columns alone."""
Version = Annotated[str, Meta(max_length=16, extra_json_schema={"pattern": r"^[0-9]+(\.[0-9]+)?$"})]

_PERSONAL = {"x-personal-data": True}
PersonalText = Annotated[str, Meta(max_length=1_000, extra_json_schema=_PERSONAL)]
"""Text that says something about a person: masked in logs, dead letters, traces and analytics."""
PersonalName = Annotated[str, Meta(max_length=200, extra_json_schema=_PERSONAL)]

Quantity = Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
Rank = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]

Amount = Annotated[Decimal, Meta(extra={"reading": _amount}, extra_json_schema={"pattern": r"^[0-9]{1,10}\.[0-9]{2}$"})]
"""Money: from 0.00 to :data:`LARGEST_TOTAL`, always with two places. Nothing is rounded in silence."""
Moment = Annotated[datetime, Meta(extra={"reading": _moment}, extra_json_schema={"format": "date-time"})]
"""A point in time, always in UTC; one that says no offset is read as UTC."""
Figures = Annotated[dict[Label, Decimal], Meta(extra={"reading": _figures})]
"""Named measurements."""
Plan = Annotated[msgspec.Raw | msgspec.UnsetType, Meta(extra={"reading": _plan})]
"""JSON that the order context alone reads; ``UNSET`` where there is none, because raw JSON cannot be ``None``."""


@cache
def _readings(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    found = ((field, _reading_of(field.type)) for field in msgspec.structs.fields(kind))
    return tuple((field.name, field.encode_name, reading) for field, reading in found if reading is not None)


def _reading_of(annotation: Any) -> Callable[[Any], Any] | None:
    for part in (annotation, *get_args(annotation)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra:
                reading: Callable[[Any], Any] = meta.extra["reading"]
                return reading
    return None
