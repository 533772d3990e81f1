"""Commands: what one context asks of another. Each goes to the receiver's command topic.

``request_id`` names the request and is constant over its repetitions; every repetition has an ``event_id`` of its own.
"""

from typing import Annotated, ClassVar

import msgspec

from orderflow.contracts.envelope import DEFAULT_TENANT, Message
from orderflow.contracts.fields import Amount, Count, Id, Label, Moment, Name, Plan, Text
from orderflow.contracts.items import Channel, Customer, FulfillmentDetails, Item, Recipient, RequestedItem


class CreateOrder(Message, frozen=True, kw_only=True, tag=True):
    """Ask for a new order. ``plan`` is filled in by whoever takes the command in; senders leave it out."""

    TIME: ClassVar[str] = "requested_at"
    customer_id: Id
    customer: Customer
    items: Annotated[tuple[RequestedItem, ...], msgspec.Meta(min_length=1, max_length=100)]
    requested_at: Moment
    flow: Name | None = None
    tenant: Name = msgspec.field(default_factory=lambda: DEFAULT_TENANT)
    recipient: Recipient | None = None
    plan: Plan = msgspec.UNSET


class ChangeOrderStatus(Message, frozen=True, kw_only=True, tag=True):
    """Ask the order for another status, in the words of its flow. Only some changes are legal."""

    TIME: ClassVar[str] = "requested_at"
    status: Name
    requested_at: Moment
    reason: Text = ""
    fulfillment: FulfillmentDetails | None = None


class OrderPaymentRequested(Message, frozen=True, kw_only=True, tag=True):
    """Charge the customer."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    customer_id: Id
    amount: Amount
    requested_at: Moment
    attempt: Count = 1


class RefundPayment(Message, frozen=True, kw_only=True, tag=True):
    """Undo the charge, whatever became of it. Answered by PaymentRefunded, with 0.00 where nothing was charged."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    amount: Amount
    reason: Text
    requested_at: Moment
    payment_id: Id | None = None
    attempt: Count = 1


class OrderInventoryRequested(Message, frozen=True, kw_only=True, tag=True):
    """Reserve all of the items, or none."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    items: tuple[Item, ...]
    requested_at: Moment
    attempt: Count = 1


class ReleaseInventory(Message, frozen=True, kw_only=True, tag=True):
    """Undo the reservation, whatever became of it."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    reason: Text
    requested_at: Moment
    reservation_id: Id | None = None
    attempt: Count = 1


class ConfirmReservation(Message, frozen=True, kw_only=True, tag=True):
    """Keep the reservation until the time given: the order still needs it."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    reservation_id: Id
    until: Moment
    requested_at: Moment


class OrderFulfillmentRequested(Message, frozen=True, kw_only=True, tag=True):
    """Hand the items to a carrier."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    items: tuple[Item, ...]
    customer: Customer
    requested_at: Moment
    attempt: Count = 1


class CancelShipment(Message, frozen=True, kw_only=True, tag=True):
    """Stop the shipment if it has not left. Answered by ShipmentCancelled, or by OrderShipped: too late."""

    TIME: ClassVar[str] = "requested_at"
    request_id: Id
    reason: Text
    requested_at: Moment
    attempt: Count = 1


class SendNotification(Message, frozen=True, kw_only=True, tag=True):
    """Tell somebody something, over the channels that are enabled and have an address."""

    TIME: ClassVar[str] = "requested_at"
    notification_id: Id
    template: Name
    parameters: dict[Label, Text]
    recipient: Recipient
    channels: tuple[Channel, ...]
    requested_at: Moment
    cohort: Name | None = None
