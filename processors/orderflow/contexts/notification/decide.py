"""What notification does with each message.

An event and the command that belongs to it meet in one notification, whichever comes first: the event says that it is
due, the command whom to tell. Nothing is answered, so nobody waits: a notification that cannot be delivered is a fact
in the log, never a fault.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from orderflow.contexts.notification.addresses import address_of, masked
from orderflow.contexts.notification.state import (
    OUTCOME_OF,
    Correspondence,
    Delivery,
    Notification,
    delivery_key_of,
    delivery_task_of,
    notification_id_of,
)
from orderflow.contexts.notification.templates import render
from orderflow.contracts.commands import SendNotification
from orderflow.contracts.decision import Append, Call, Decision, Refused, Transition
from orderflow.contracts.envelope import Message
from orderflow.contracts.items import Channel, ChannelName, Recipient
from orderflow.contracts.outcomes import DeliveryAnswered

STEP = "notification"
DISABLED = "the channel is disabled"
NO_ADDRESS = "the recipient has no address on this channel"


def decide(
    correspondence: Correspondence | None, _shared: Mapping[str, object], message: Message
) -> Decision[Correspondence]:
    """Decide one message about one order's notifications.

    Raises:
        Refused: the message names no order.
    """
    if not message.order_id:
        raise Refused("orderId", "a notification belongs to an order")
    known = correspondence or Correspondence(order_id=message.order_id)
    match message:
        case SendNotification():
            return _start(known, message)
        case DeliveryAnswered():
            return _take_answer(known, message) or Decision(state=correspondence, outcome="ignored")
    if type(message) in OUTCOME_OF:
        return _announce(known, message, OUTCOME_OF[type(message)])
    return Decision(state=correspondence, outcome="ignored")


def _announce(known: Correspondence, message: Message, outcome: str) -> Decision[Correspondence]:
    notification_id = notification_id_of(known.order_id, outcome)
    if notification_id in known.notifications:
        return Decision(state=known, outcome="repeated")
    at = message.occurred_at
    announced = Notification(template=outcome, created_at=at, updated_at=at)
    return Decision(
        state=_with(known, notification_id, announced),
        outcome="applied",
        transitions=(_transition(None, announced),),
    )


def _start(known: Correspondence, message: SendNotification) -> Decision[Correspondence]:
    before = known.notifications.get(message.notification_id)
    if before is not None and before.started:
        return Decision(state=known, outcome="repeated")
    at = message.occurred_at
    started = Notification(
        template=message.template,
        created_at=before.created_at if before else at,
        updated_at=at,
        started=True,
        channels=_deliveries(message),
    )
    return Decision(
        state=_with(known, message.notification_id, started),
        outcome="applied",
        transitions=(_transition(before, started),),
        tasks=_calls(message, started),
        writes=(_logged(message, started),),
    )


def _deliveries(message: SendNotification) -> dict[ChannelName, Delivery]:
    """Return where each channel starts, in the order in which they are tried; one named twice counts once."""
    deliveries: dict[ChannelName, Delivery] = {}
    for channel in sorted(message.channels, key=lambda channel: (not channel.enabled, channel.priority)):
        deliveries.setdefault(channel.channel, _delivery(channel, message.recipient))
    return deliveries


def _delivery(channel: Channel, recipient: Recipient) -> Delivery:
    if not channel.enabled:
        return Delivery(status="skipped", error=DISABLED)
    if address_of(recipient, channel.channel) is None:
        return Delivery(status="skipped", error=NO_ADDRESS)
    return Delivery(status="pending")


def _calls(message: SendNotification, started: Notification) -> tuple[Call, ...]:
    text = render(message.template, {**message.parameters, "orderId": message.order_id})
    return tuple(
        Call(
            task_id=delivery_task_of(message.notification_id, channel),
            provider=channel,
            operation="deliver",
            key=delivery_key_of(message.notification_id, channel),
            arguments={
                "notificationId": message.notification_id,
                "orderId": message.order_id,
                "template": message.template,
                "subject": text.subject,
                "body": text.body,
                "address": address_of(message.recipient, channel) or "",
            },
        )
        for channel, delivery in started.channels.items()
        if delivery.status == "pending"
    )


def _take_answer(known: Correspondence, answer: DeliveryAnswered) -> Decision[Correspondence] | None:
    """Return what the provider's word changes; ``None`` if nothing of the kind was ever asked of it."""
    before = known.notifications.get(answer.notification_id)
    delivery = before.channels.get(answer.channel) if before else None
    if before is None or delivery is None:
        return None
    if delivery.status != "pending":
        return Decision(state=known, outcome="late")
    answered = Delivery(status=answer.status, reference=answer.reference, error=answer.error_message)
    after = replace(before, updated_at=answer.occurred_at, channels={**before.channels, answer.channel: answered})
    return Decision(
        state=_with(known, answer.notification_id, after),
        outcome="applied",
        transitions=(_transition(before, after, f"{answer.channel} {answer.status}"),),
        writes=(_attempt(answer),),
    )


def _with(known: Correspondence, notification_id: str, notification: Notification) -> Correspondence:
    return replace(known, notifications={**known.notifications, notification_id: notification})


def _transition(before: Notification | None, after: Notification, what: str = "") -> Transition:
    return Transition(
        before=before.status if before else "",
        after=after.status,
        step=STEP,
        detail=f"{after.template}: {what}" if what else after.template,
    )


def _logged(message: SendNotification, started: Notification) -> Append:
    """Log that the notification was started; addresses are masked, texts are left out."""
    tried = [channel for channel, delivery in started.channels.items() if delivery.status == "pending"]
    return Append(
        table="notification_log",
        values={
            "event_id": message.event_id,
            "notification_id": message.notification_id,
            "order_id": message.order_id,
            "template": message.template,
            "status": started.status,
            "sent_to": ", ".join(f"{name} {masked(address_of(message.recipient, name) or '')}" for name in tried),
            "at": message.occurred_at,
        },
    )


def _attempt(answer: DeliveryAnswered) -> Append:
    return Append(
        table="delivery_attempts",
        values={
            "event_id": answer.event_id,
            "notification_id": answer.notification_id,
            "order_id": answer.order_id,
            "channel": answer.channel,
            "status": answer.status,
            "reference": answer.reference,
            "error": answer.error_message,
            "at": answer.occurred_at,
        },
    )
