"""What the order API answers, as a client reads it: leniently, so that a newer API's further fields do no harm."""

from datetime import datetime
from decimal import Decimal

import msgspec

from orderflow.contracts.money import ZERO


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Line(_Answer, frozen=True, kw_only=True):
    """So many pieces of a product, each at ``price``."""

    product_id: str
    quantity: int
    price: Decimal = ZERO


class Shipment(_Answer, frozen=True, kw_only=True):
    """What is known of the shipment."""

    carrier: str | None = None
    tracking_number: str | None = None
    shipped_at: str | None = None
    error_message: str | None = None


class Order(_Answer, frozen=True, kw_only=True):
    """An order; ``status`` is in the words of its flow."""

    order_id: str
    status: str
    flow: str
    customer_id: str
    total: Decimal
    created_at: datetime
    updated_at: datetime
    items: tuple[Line, ...] = ()
    customer_name: str = ""
    fulfillment: Shipment = Shipment()
    cancellation_reason: str | None = None


class Orders(_Answer, frozen=True, kw_only=True):
    """A page of orders, the newest first; ``next_cursor`` leads on to the next page, if there is one."""

    orders: tuple[Order, ...]
    next_cursor: str | None = None


class Cause(_Answer, frozen=True, kw_only=True):
    """The message that brought a transition about."""

    event_id: str
    event_type: str


class Entry(_Answer, frozen=True, kw_only=True):
    """One transition in one context. ``attempt`` counts the asks of its step, 0 where there is none to count.

    ``actor`` is whose act it was, where it was no decision.
    """

    context: str
    recorded_at: datetime
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    cause: Cause
    step: str = ""
    attempt: int = 0
    detail: str = ""
    actor: str | None = None


class Timeline(_Answer, frozen=True, kw_only=True):
    """Every transition of an order, as recorded; ``incomplete`` names the contexts that did not answer."""

    order_id: str
    entries: tuple[Entry, ...]
    incomplete: tuple[str, ...] = ()


class Product(_Answer, frozen=True, kw_only=True):
    """A product of the catalogue."""

    product_id: str


class Products(_Answer, frozen=True, kw_only=True):
    """The catalogue."""

    products: tuple[Product, ...]


class Accepted(_Answer, frozen=True, kw_only=True):
    """Of the answer to a new order, what tells it from all others."""

    order_id: str


class ProblemDocument(_Answer, frozen=True, kw_only=True):
    """RFC 9457, with the field at fault, if one is."""

    detail: str
    field: str = ""
