"""What fulfillment knows of one order: at most one shipment, booked at most once and cancelled at most once."""

from datetime import datetime
from typing import Literal

import msgspec

from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item

Status = Literal["booking", "cancelling", "shipped", "failed", "cancelled"]
"""``booking`` and ``cancelling`` wait for the carrier's definitive answer. A ``cancelled`` shipment that was never
requested is a tombstone: the request, should it still come, is refused."""


class Shipment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The shipment of one order.

    ``request_id`` and ``cancel_request_id`` name the requests that made the carrier be called, and are repeated in the
    replies to them. ``settled_at`` is when the status became final; carrier, tracking number and error are what the
    carrier said.
    """

    order_id: str
    status: Status
    items: tuple[Item, ...] = ()
    request_id: str | None = None
    cancel_request_id: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    settled_at: datetime | None = None
    error: str | None = None

    @property
    def shipment_id(self) -> str:
        """The shipment's name, and the idempotency key under which the carrier knows it."""
        return shipment_id_of(self.order_id)

    @property
    def shipped_at(self) -> datetime | None:
        """When the goods left; empty while they are here."""
        return self.settled_at if self.status == "shipped" else None


def shipment_id_of(order_id: str) -> str:
    """Return the name of the order's only shipment."""
    return derive(order_id, "shipment")


def book_task_of(shipment_id: str) -> str:
    """Return the id of the task that books the shipment."""
    return derive(shipment_id, "book task")


def cancel_task_of(shipment_id: str) -> str:
    """Return the id of the task that cancels the shipment."""
    return derive(shipment_id, "cancel task")


def is_live(shipment: Shipment) -> bool:
    """Whether the carrier still owes an answer."""
    return shipment.status in {"booking", "cancelling"}
