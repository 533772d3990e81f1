"""What each event adds to the figures and what is kept of it."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from orderflow.contexts.analytics.figures import Durations, Figures, duration
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import (
    InventoryFailed,
    InventoryReserved,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderShipmentFailed,
    OrderShipped,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
)
from orderflow.contracts.money import ZERO

FACTS: frozenset[type[Message]] = frozenset(
    {
        OrderCreated,
        OrderCompleted,
        OrderCancelled,
        PaymentSucceeded,
        PaymentFailed,
        PaymentRefunded,
        InventoryReserved,
        InventoryFailed,
        OrderShipped,
        OrderShipmentFailed,
    }
)
"""The events that are counted. An order has at most one of each kind."""


def figures_of(event: Message, created_at: datetime | None) -> Figures:
    """Return what ``event`` counts for; ``created_at`` is its order's, for the time to complete.

    A refund of nothing (0.00: nothing had been charged) is no refund.
    """
    figures = Figures()
    match event:
        case OrderCreated():
            figures = Figures(orders=1)
        case OrderCompleted():
            figures = Figures(completed=1, completion=_since(created_at, event.occurred_at))
        case OrderCancelled():
            figures = Figures(cancelled=1)
        case PaymentSucceeded():
            figures = Figures(payments=1, revenue=event.amount)
        case PaymentFailed():
            figures = Figures(payment_failures=1)
        case PaymentRefunded():
            figures = Figures(refunds=int(event.amount > ZERO), refunded=event.amount)
        case InventoryReserved():
            figures = Figures(reservations=1)
        case InventoryFailed():
            figures = Figures(inventory_failures=1)
        case OrderShipped():
            figures = Figures(shipments=1)
        case OrderShipmentFailed():
            figures = Figures(shipment_failures=1)
    return figures


def amount_of(event: Message) -> Decimal | None:
    """Return the money that ``event`` is about, or ``None`` if it is about none."""
    match event:
        case OrderCreated():
            return event.total_amount
        case PaymentSucceeded() | PaymentFailed() | PaymentRefunded():
            return event.amount
    return None


def attributes_of(event: Message) -> str:
    """Return as JSON what else reports may ask of ``event``.

    Nothing that says something about a person: no customer, and of words only those that the contexts and their
    providers write; why somebody cancelled may be in somebody's own words, and stays out.
    """
    attributes: dict[str, str | int | None] = {"tenant": event.metadata.tenant}
    match event:
        case OrderCreated():
            attributes |= {"flow": event.flow, "pieces": sum(item.quantity for item in event.items)}
        case OrderCancelled():
            attributes |= {"finalStatus": event.final_status}
        case PaymentFailed() | InventoryFailed():
            attributes |= {"reason": event.failure_reason}
        case OrderShipmentFailed():
            attributes |= {"reason": event.error_message}
        case OrderShipped():
            attributes |= {"carrier": event.carrier}
    known = {name: value for name, value in attributes.items() if value is not None}
    return msgspec.json.encode(known, order="sorted").decode()


def _since(created_at: datetime | None, completed_at: datetime) -> Durations:
    if created_at is None:
        return Durations()
    return duration((completed_at - created_at) // timedelta(milliseconds=1))
