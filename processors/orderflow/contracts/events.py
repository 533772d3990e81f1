"""Events: facts, published by their owner on its event topic, with at least the fields the requirements print.

A reply to a request repeats its ``request_id``; it is optional because older writers do not have it.
"""

from typing import ClassVar

from orderflow.contracts.envelope import Message
from orderflow.contracts.fields import Amount, Count, Figures, Id, Label, Moment, Name, Quantity, Text
from orderflow.contracts.items import Customer, Item, PricedItem, ShortItem


class OrderCreated(Message, frozen=True, kw_only=True, tag=True):
    """An order was accepted. Aliases read: ``OrderPlaced``, ``OrderCreatedEvent``."""

    TIME: ClassVar[str] = "created_at"
    customer_id: Id
    total_amount: Amount
    items: tuple[PricedItem, ...]
    created_at: Moment
    customer: Customer | None = None
    flow: Name | None = None


class OrderCompleted(Message, frozen=True, kw_only=True, tag=True):
    """Every step of the order's flow has succeeded."""

    TIME: ClassVar[str] = "completed_at"
    completed_at: Moment


class OrderCancelled(Message, frozen=True, kw_only=True, tag=True):
    """The order ended without success and everything it had caused is undone.

    ``final_status`` is the order's last status in the words of its flow (``Cancelled``, ``Failed``, ...).
    """

    TIME: ClassVar[str] = "cancelled_at"
    cancellation_reason: Text
    cancelled_at: Moment
    final_status: Name | None = None


class PaymentSucceeded(Message, frozen=True, kw_only=True, tag=True):
    """The customer was charged. Alias read: ``PaymentCaptured``."""

    TIME: ClassVar[str] = "processed_at"
    payment_id: Id
    amount: Amount
    processed_at: Moment
    request_id: Id | None = None


class PaymentFailed(Message, frozen=True, kw_only=True, tag=True):
    """The customer was not charged, and will not be for this request."""

    TIME: ClassVar[str] = "failed_at"
    payment_id: Id
    amount: Amount
    failure_reason: Text
    failed_at: Moment
    request_id: Id | None = None


class PaymentRefunded(Message, frozen=True, kw_only=True, tag=True):
    """The charge is undone. ``amount`` is 0.00 where there was nothing to refund."""

    TIME: ClassVar[str] = "refunded_at"
    refund_id: Id
    payment_id: Id
    amount: Amount
    refunded_at: Moment
    request_id: Id | None = None


class InventoryReserved(Message, frozen=True, kw_only=True, tag=True):
    """All items are set aside for the order, until ``expires_at`` at least."""

    TIME: ClassVar[str] = "reserved_at"
    reservation_id: Id
    items: tuple[Item, ...]
    reserved_at: Moment
    request_id: Id | None = None
    expires_at: Moment | None = None


class InventoryFailed(Message, frozen=True, kw_only=True, tag=True):
    """Nothing was reserved; ``failed_items`` says what there was too little of."""

    TIME: ClassVar[str] = "failed_at"
    failure_reason: Text
    failed_items: tuple[ShortItem, ...]
    failed_at: Moment
    request_id: Id | None = None


class InventoryReleased(Message, frozen=True, kw_only=True, tag=True):
    """The order holds no stock any more. ``items`` is empty where it had held none."""

    TIME: ClassVar[str] = "released_at"
    items: tuple[Item, ...]
    released_at: Moment
    request_id: Id | None = None
    reservation_id: Id | None = None


class ReservationExpiring(Message, frozen=True, kw_only=True, tag=True):
    """A reservation has reached its time. The order decides: ConfirmReservation or ReleaseInventory."""

    TIME: ClassVar[str] = "expires_at"
    reservation_id: Id
    expires_at: Moment


class ProductChanged(Message, frozen=True, kw_only=True, tag=True):
    """What is known of a product now. ``version`` is that of its stock row: readers keep the newest."""

    TIME: ClassVar[str] = "changed_at"
    KEY: ClassVar[str] = "product_id"
    product_id: Id
    name: Label
    price: Amount
    available: Count
    version: Count
    changed_at: Moment


class OrderShipped(Message, frozen=True, kw_only=True, tag=True):
    """The carrier has the goods."""

    TIME: ClassVar[str] = "shipped_at"
    shipment_id: Id
    carrier: Label
    tracking_number: Label
    shipped_at: Moment
    request_id: Id | None = None


class OrderShipmentFailed(Message, frozen=True, kw_only=True, tag=True):
    """The carrier has refused for good; nothing has left."""

    TIME: ClassVar[str] = "failed_at"
    shipment_id: Id
    error_message: Text
    failed_at: Moment
    request_id: Id | None = None


class ShipmentCancelled(Message, frozen=True, kw_only=True, tag=True):
    """Nothing has left, and nothing will for this order."""

    TIME: ClassVar[str] = "cancelled_at"
    cancelled_at: Moment
    request_id: Id | None = None
    shipment_id: Id | None = None


class AnalyticsProcessed(Message, frozen=True, kw_only=True, tag=True):
    """The figures of one window, in full; a later one for the same window replaces it."""

    TIME: ClassVar[str] = "processed_at"
    KEY: ClassVar[str] = "window_start"
    window_start: Id
    window_seconds: Quantity
    metrics: Figures
    processed_at: Moment
