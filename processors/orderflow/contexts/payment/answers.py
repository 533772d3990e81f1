"""From the card provider's definitive answer to the message that tells payment of it."""

from datetime import datetime
from decimal import Decimal

from orderflow.contracts.decision import Call
from orderflow.contracts.identity import derive
from orderflow.contracts.outcomes import ChargeAnswered, RefundAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear


def charge_answered(call: Call, answer: ProviderAnswer, now: datetime) -> ChargeAnswered:
    """Return the outcome of a charge: made or declined.

    Raises:
        Unclear: the provider used a status that says neither.
    """
    if answer.status not in {"succeeded", "declined"}:
        raise Unclear(f"a charge ends in succeeded or declined; the provider said {answer.status!r}")
    return ChargeAnswered(
        event_id=derive(call.task_id, "answered"),
        order_id=call.arguments["orderId"],
        task_id=call.task_id,
        payment_id=call.arguments["paymentId"],
        status="succeeded" if answer.status == "succeeded" else "declined",
        amount=Decimal(call.arguments["amount"]),
        answered_at=now,
        reference=answer.reference,
        failure_reason=answer.detail.get("reason"),
    )


def refund_answered(call: Call, answer: ProviderAnswer, now: datetime) -> RefundAnswered:
    """Return the outcome of a refund: made. A captured charge can always be refunded, so there is no other.

    Raises:
        Unclear: the provider used another status.
    """
    if answer.status != "succeeded":
        raise Unclear(f"a refund ends in succeeded; the provider said {answer.status!r}")
    return RefundAnswered(
        event_id=derive(call.task_id, "answered"),
        order_id=call.arguments["orderId"],
        task_id=call.task_id,
        payment_id=call.arguments["paymentId"],
        status="succeeded",
        amount=Decimal(call.arguments["amount"]),
        answered_at=now,
        reference=answer.reference,
    )
