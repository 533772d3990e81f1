"""What notification knows of one order: which notifications it is due, and how far each channel has got with each.

No address and no text is kept here: they go out with the calls and are not needed again.
"""

from datetime import datetime
from typing import Literal

import msgspec

from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderCancelled, OrderCompleted, OrderShipped, PaymentFailed
from orderflow.contracts.identity import derive
from orderflow.contracts.items import ChannelName

OUTCOME_OF: dict[type[Message], str] = {
    PaymentFailed: "payment-failed",
    OrderCompleted: "order-completed",
    OrderCancelled: "order-cancelled",
    OrderShipped: "order-shipped",
}
"""The events that somebody is told of, with the template that tells it."""

ChannelStatus = Literal["pending", "delivered", "rejected", "skipped"]
"""``pending`` waits for the provider's definitive answer; a ``skipped`` channel was never asked."""

Status = Literal["announced", "sending", "delivered", "partly", "undeliverable"]
"""``announced``: the event is known and the command, which names the recipient, is not. Then ``sending`` until every
channel has answered; ``partly`` delivered where some channels were refused, ``undeliverable`` where all were or where
there was none to try."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notification on one channel. ``reference`` is the provider's; ``error`` says why it was not delivered."""

    status: ChannelStatus
    reference: str | None = None
    error: str | None = None


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notification. Once ``started`` it has a delivery for each channel that its command names."""

    template: str
    created_at: datetime
    updated_at: datetime
    started: bool = False
    channels: dict[ChannelName, Delivery] = {}

    @property
    def status(self) -> Status:
        """How far it has got: it follows from the channels."""
        if not self.started:
            return "announced"
        found = {delivery.status for delivery in self.channels.values()}
        if "pending" in found:
            return "sending"
        if "delivered" not in found:
            return "undeliverable"
        return "partly" if "rejected" in found else "delivered"


class Correspondence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All notifications about one order, by their ids."""

    order_id: str
    notifications: dict[str, Notification] = {}


def notification_id_of(order_id: str, outcome: str) -> str:
    """Return the name of the order's only notification of ``outcome``; whoever commands it uses the same."""
    return derive(order_id, outcome)


def delivery_key_of(notification_id: str, channel: ChannelName) -> str:
    """Return the idempotency key under which the channel's provider knows the delivery."""
    return derive(notification_id, channel)


def delivery_task_of(notification_id: str, channel: ChannelName) -> str:
    """Return the id of the task that delivers."""
    return derive(notification_id, channel, "deliver task")


def is_live(correspondence: Correspondence) -> bool:
    """Whether a provider still owes an answer. What is only announced waits for a command, in the database."""
    return any(notification.status == "sending" for notification in correspondence.notifications.values())
