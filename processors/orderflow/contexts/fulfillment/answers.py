"""From the carrier's definitive answer to the message that tells fulfillment of it."""

from datetime import datetime
from typing import Literal

from orderflow.contracts.decision import Call
from orderflow.contracts.identity import derive
from orderflow.contracts.outcomes import CarrierAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear

Status = Literal["shipped", "rejected", "cancelled"]
_STATUSES: dict[str, Status] = {"shipped": "shipped", "rejected": "rejected", "cancelled": "cancelled"}


def book_answered(call: Call, answer: ProviderAnswer, now: datetime) -> CarrierAnswered:
    """Return the outcome of a booking: shipped, or rejected; under a key that was cancelled first, cancelled.

    Raises:
        Unclear: the carrier used a status that says none of these.
    """
    return _answered("book", call, answer, now)


def cancel_answered(call: Call, answer: ProviderAnswer, now: datetime) -> CarrierAnswered:
    """Return the outcome of a cancellation: cancelled (or rejected before it), or shipped before it came.

    Raises:
        Unclear: the carrier used a status that says none of these.
    """
    return _answered("cancel", call, answer, now)


def _answered(
    operation: Literal["book", "cancel"], call: Call, answer: ProviderAnswer, now: datetime
) -> CarrierAnswered:
    status = _STATUSES.get(answer.status)
    if status is None:
        raise Unclear(f"the carrier answers {', '.join(_STATUSES)}; it said {answer.status!r}")
    shipped = status == "shipped"
    return CarrierAnswered(
        event_id=derive(call.task_id, "answered"),
        order_id=call.arguments["orderId"],
        task_id=call.task_id,
        shipment_id=call.arguments["shipmentId"],
        operation=operation,
        status=status,
        answered_at=now,
        carrier=answer.detail.get("carrier") if shipped else None,
        tracking_number=answer.detail.get("trackingNumber", answer.reference) if shipped else None,
        error_message=answer.detail.get("reason"),
    )
