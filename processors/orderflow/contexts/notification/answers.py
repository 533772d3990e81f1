"""From a channel provider's definitive answer to the message that tells notification of it."""

from collections.abc import Callable
from datetime import datetime

from orderflow.contracts.decision import Call
from orderflow.contracts.identity import derive
from orderflow.contracts.items import ChannelName
from orderflow.contracts.outcomes import DeliveryAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear


def delivery_answered(channel: ChannelName) -> Callable[[Call, ProviderAnswer, datetime], DeliveryAnswered]:
    """Return what turns answers of the channel's provider into outcomes: delivered or rejected.

    It raises ``Unclear`` where the provider used a status that says neither.
    """

    def answered(call: Call, answer: ProviderAnswer, now: datetime) -> DeliveryAnswered:
        if answer.status not in {"delivered", "rejected"}:
            raise Unclear(f"a delivery ends in delivered or rejected; the provider said {answer.status!r}")
        return DeliveryAnswered(
            event_id=derive(call.task_id, "answered"),
            order_id=call.arguments["orderId"],
            task_id=call.task_id,
            notification_id=call.arguments["notificationId"],
            channel=channel,
            status="delivered" if answer.status == "delivered" else "rejected",
            answered_at=now,
            reference=answer.reference,
            error_message=answer.detail.get("reason"),
        )

    return answered
