"""What payment answers: each reply is made from the state, for the message that asks or brings the outcome.

A reply's ``event_id`` follows from that message, so every ask has an answer of its own with the same content.
"""

from datetime import datetime
from decimal import Decimal

from orderflow.contexts.payment.state import Payment, payment_id_of, refund_id_of
from orderflow.contracts.commands import OrderPaymentRequested
from orderflow.contracts.envelope import Message, caused_by
from orderflow.contracts.events import PaymentFailed, PaymentRefunded, PaymentSucceeded
from orderflow.contracts.identity import derive
from orderflow.contracts.money import ZERO

CONTEXT = "payment"
COMPENSATED = "the payment was compensated before this request: nothing is charged for it"
DECLINED = "the card provider declined the charge"


def succeeded(payment: Payment, message: Message, *, request_id: str) -> PaymentSucceeded:
    """Say that the charge was made, when it was made."""
    return PaymentSucceeded(
        event_id=derive(message.event_id, "PaymentSucceeded"),
        order_id=payment.order_id,
        metadata=caused_by(message, CONTEXT),
        payment_id=payment.payment_id,
        amount=payment.amount,
        processed_at=_settled(payment, message),
        request_id=request_id,
    )


def declined(payment: Payment, message: Message, *, request_id: str) -> PaymentFailed:
    """Say that the provider declined the charge, and why."""
    return PaymentFailed(
        event_id=derive(message.event_id, "PaymentFailed"),
        order_id=payment.order_id,
        metadata=caused_by(message, CONTEXT),
        payment_id=payment.payment_id,
        amount=payment.amount,
        failure_reason=payment.failure_reason or DECLINED,
        failed_at=_settled(payment, message),
        request_id=request_id,
    )


def compensated(message: OrderPaymentRequested) -> PaymentFailed:
    """Refuse a request that came after its compensation."""
    return PaymentFailed(
        event_id=derive(message.event_id, "PaymentFailed"),
        order_id=message.order_id,
        metadata=caused_by(message, CONTEXT),
        payment_id=payment_id_of(message.order_id),
        amount=message.amount,
        failure_reason=COMPENSATED,
        failed_at=message.occurred_at,
        request_id=message.request_id,
    )


def refunded(payment: Payment, message: Message, *, request_id: str) -> PaymentRefunded:
    """Say that the captured amount was given back, when it was."""
    made_at = payment.refund.refunded_at if payment.refund else None
    return _refunded(message, payment.refunded, made_at or message.occurred_at, request_id)


def nothing_refunded(message: Message, *, request_id: str) -> PaymentRefunded:
    """Say that there is nothing to give back, and will not be."""
    return _refunded(message, ZERO, message.occurred_at, request_id)


def _refunded(message: Message, amount: Decimal, at: datetime, request_id: str) -> PaymentRefunded:
    payment_id = payment_id_of(message.order_id)
    return PaymentRefunded(
        event_id=derive(message.event_id, "PaymentRefunded"),
        order_id=message.order_id,
        metadata=caused_by(message, CONTEXT),
        refund_id=refund_id_of(payment_id),
        payment_id=payment_id,
        amount=amount,
        refunded_at=at,
        request_id=request_id,
    )


def _settled(payment: Payment, message: Message) -> datetime:
    return payment.settled_at or message.occurred_at
