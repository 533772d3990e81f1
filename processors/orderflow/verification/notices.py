"""The check of an order's notifications against what the channels' providers say that they delivered."""

from collections import Counter
from collections.abc import Iterator

from orderflow.contexts.notification.state import Delivery, delivery_key_of
from orderflow.contracts.items import ChannelName
from orderflow.providers.record import Record
from orderflow.verification.case import Case

Asked = dict[tuple[str, str], tuple[str, ChannelName, Delivery]]
"""By channel and key: the template, and what became of the delivery as far as we know."""


def notified_once(case: Case) -> Iterator[str]:
    """Every delivery belongs to one notification, is known to both sides, and is made once per outcome and channel."""
    if not case.is_settled("notification"):
        return
    theirs = {(record.provider, record.key): record for record in case.records if record.operation == "deliver"}
    asked = _asked(case)
    for place, record in theirs.items():
        if place not in asked:
            yield f"{record.provider} has a delivery {record.key} that belongs to no notification"
    for place, (template, channel, delivery) in asked.items():
        yield from _agree(template, channel, delivery, theirs.get(place))
    delivered = Counter(
        asked[place][:2] for place, record in theirs.items() if record.status == "delivered" and place in asked
    )
    for (template, channel), times in delivered.items():
        if times > 1:
            yield f"{template} was delivered {times} times by {channel}"


def _asked(case: Case) -> Asked:
    if case.correspondence is None:
        return {}
    return {
        (channel, delivery_key_of(notification_id, channel)): (notification.template, channel, delivery)
        for notification_id, notification in case.correspondence.notifications.items()
        for channel, delivery in notification.channels.items()
    }


def _agree(template: str, channel: ChannelName, delivery: Delivery, record: Record | None) -> Iterator[str]:
    theirs = record.status if record else None
    if delivery.status in {"delivered", "rejected"}:
        if theirs != delivery.status:
            yield f"{template} is {delivery.status} by {channel} here, and {theirs or 'unknown'} to the provider"
    elif theirs is not None:
        yield f"{template} is {theirs} by {channel} to the provider, and {delivery.status} here"
