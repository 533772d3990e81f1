"""What payment knows of one order: at most one charge, at most one refund of it."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from orderflow.contracts.identity import derive
from orderflow.contracts.money import ZERO

Status = Literal["charging", "succeeded", "failed", "refunding", "refunded", "refused"]
"""``charging`` and ``refunding`` wait for the card provider's definitive answer. ``refused`` is the tombstone of a
refund that came before its request: the request, should it still come, is not carried out."""


class Refund(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refund that was asked for; ``refunded_at`` is empty until it is made."""

    request_id: str
    reason: str
    requested_at: datetime
    refunded_at: datetime | None = None
    reference: str | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payment of one order.

    ``amount`` is what was asked for (0.00 in a tombstone); ``request_id`` names the request that started the charge.
    ``settled_at``, ``reference`` and ``failure_reason`` are the provider's answer to it.
    """

    order_id: str
    status: Status
    amount: Decimal
    requested_at: datetime
    request_id: str = ""
    settled_at: datetime | None = None
    reference: str | None = None
    failure_reason: str | None = None
    refund: Refund | None = None

    @property
    def payment_id(self) -> str:
        """The payment's name, and the idempotency key of its charge."""
        return payment_id_of(self.order_id)

    @property
    def captured(self) -> Decimal:
        """What the customer was charged, refunded or not."""
        return self.amount if self.status in {"succeeded", "refunding", "refunded"} else ZERO

    @property
    def refunded(self) -> Decimal:
        """What the customer was given back."""
        return self.amount if self.status == "refunded" else ZERO


def payment_id_of(order_id: str) -> str:
    """Return the name of the order's only payment."""
    return derive(order_id, "payment")


def refund_id_of(payment_id: str) -> str:
    """Return the name of the payment's only refund, and the refund's idempotency key."""
    return derive(payment_id, "refund")


def charge_task_of(payment_id: str) -> str:
    """Return the id of the task that charges."""
    return derive(payment_id, "charge task")


def refund_task_of(payment_id: str) -> str:
    """Return the id of the task that refunds."""
    return derive(payment_id, "refund task")


def is_live(payment: Payment) -> bool:
    """Whether the provider still owes an answer."""
    return payment.status in {"charging", "refunding"}
