"""Checks of an order's parcel, and of the stock as a whole."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from orderflow.contexts.fulfillment.state import shipment_id_of
from orderflow.contexts.inventory.state import StockLevel
from orderflow.verification.case import Case


def one_shipment(case: Case) -> Iterator[str]:
    """The carrier has taken one parcel of the order at the most."""
    booked = case.done("carrier", "book", "shipped")
    if len(booked) > 1:
        yield f"the carrier has shipped it {len(booked)} times: {', '.join(sorted(b.key for b in booked))}"


def carrier_agrees(case: Case) -> Iterator[str]:
    """What we say was shipped is what the carrier says."""
    if not case.is_settled("fulfillment"):
        return
    key = shipment_id_of(case.key)
    shipped = case.shipment is not None and case.shipment.status == "shipped"
    theirs = {record.key: record for record in case.done("carrier", "book", "shipped")}
    booking = theirs.pop(key, None)
    if booking is None and shipped:
        yield f"it is shipped, and the carrier has no shipment {key}"
    elif booking is not None and not shipped:
        yield f"the carrier has shipped {key}, and it is {case.shipment.status if case.shipment else 'unknown'} here"
    elif booking is not None and case.shipment is not None and case.shipment.tracking_number != booking.reference:
        yield f"the carrier knows {key} by another tracking number"
    for other in theirs:
        yield f"the carrier has shipped {other}, which is none of ours"


@dataclass(slots=True)
class Held:
    """What all reservations together hold of each product."""

    reserved: Counter[str] = field(default_factory=Counter)
    consumed: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case) -> None:
        """Count what the order holds."""
        reservation = case.reservation
        if reservation is None or reservation.status not in {"reserved", "consumed"}:
            return
        holding = self.reserved if reservation.status == "reserved" else self.consumed
        for item in reservation.items:
            holding[item.product_id] += item.quantity


def adds_up(level: StockLevel) -> Iterator[str]:
    """What there is of a product is what there ever was."""
    parts = {"available": level.available, "reserved": level.reserved, "consumed": level.consumed}
    if sum(parts.values()) != level.initial + level.restocked:
        said = " + ".join(f"{pieces} {name}" for name, pieces in parts.items())
        yield f"{said} is not {level.initial} initial + {level.restocked} restocked"
    parts |= {"initial": level.initial, "restocked": level.restocked}
    yield from (f"{name} is {pieces}" for name, pieces in parts.items() if pieces < 0)


def is_held(product_id: str, level: StockLevel | None, held: Held) -> Iterator[str]:
    """What the stock says is held is what the reservations hold."""
    reserved, consumed = held.reserved[product_id], held.consumed[product_id]
    if level is None:
        if reserved or consumed:
            yield f"reservations hold {reserved} and have consumed {consumed} of it, and it has no stock"
        return
    if reserved != level.reserved:
        yield f"{level.reserved} are reserved, and the reservations hold {reserved}"
    if consumed != level.consumed:
        yield f"{level.consumed} are consumed, and the reservations have consumed {consumed}"


class Shown(NamedTuple):
    """What the catalogue of the order context shows of a product."""

    version: int
    price: Decimal
    available: int


def is_current(level: StockLevel, catalogue: Mapping[str, Shown], since: datetime | None) -> Iterator[str]:
    """The catalogue shows a product as it is; one that has changed after ``since`` may still be on its way there."""
    if since is not None and level.changed_at >= since:
        return
    shown = catalogue.get(level.product_id)
    if shown is None:
        yield "the catalogue does not show it"
    elif shown != (level.version, level.price, level.available):
        yield f"the catalogue shows version {shown.version}, the stock is at version {level.version}"
