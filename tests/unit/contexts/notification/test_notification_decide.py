"""What notification decides, for every state and every message it takes."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.shuffling import shuffled
from orderflow.contexts.notification import NOTIFICATION, Correspondence
from orderflow.contexts.notification.state import (
    OUTCOME_OF,
    Delivery,
    Notification,
    delivery_key_of,
    delivery_task_of,
    is_live,
    notification_id_of,
)
from orderflow.contracts.commands import SendNotification
from orderflow.contracts.decision import Append, Call, Decision, Refused
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderCancelled, OrderCompleted, OrderCreated, OrderShipped, PaymentFailed
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Channel, ChannelName, Recipient
from orderflow.contracts.money import ZERO
from orderflow.contracts.outcomes import DeliveryAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
CHANNELS: tuple[ChannelName, ...] = ("email", "sms", "push")
COMPLETED = notification_id_of(ORDER, "order-completed")
EVERYWHERE = Recipient(customer_id="customer-1", email="ada@example.com", phone="+441234567", push_token="tok-987654")
BY_MAIL = (Channel(channel="email"),)
ALL_CHANNELS = (
    Channel(channel="push", priority=3),
    Channel(channel="email", priority=1),
    Channel(channel="sms", priority=2),
)


def event(outcome: str, event_id: str = "e") -> Message:
    match outcome:
        case "payment-failed":
            return PaymentFailed(
                event_id=event_id,
                order_id=ORDER,
                payment_id="p",
                amount=ZERO,
                failure_reason="declined",
                failed_at=NOON,
            )
        case "order-completed":
            return OrderCompleted(event_id=event_id, order_id=ORDER, completed_at=NOON)
        case "order-cancelled":
            return OrderCancelled(event_id=event_id, order_id=ORDER, cancellation_reason="", cancelled_at=NOON)
        case _:
            return OrderShipped(
                event_id=event_id,
                order_id=ORDER,
                shipment_id="s",
                carrier="Swift",
                tracking_number="T-1",
                shipped_at=NOON,
            )


def command(
    event_id: str = "c",
    template: str = "order-completed",
    *,
    recipient: Recipient = EVERYWHERE,
    channels: tuple[Channel, ...] = BY_MAIL,
    notification_id: str | None = None,
    order_id: str = ORDER,
) -> SendNotification:
    return SendNotification(
        event_id=event_id,
        order_id=order_id,
        notification_id=notification_id or notification_id_of(ORDER, template),
        template=template,
        parameters={"reason": "no reason"},
        recipient=recipient,
        channels=channels,
        requested_at=NOON + timedelta(seconds=1),
    )


def answered(
    event_id: str = "a",
    status: Literal["delivered", "rejected"] = "delivered",
    channel: ChannelName = "email",
    notification_id: str = COMPLETED,
) -> DeliveryAnswered:
    return DeliveryAnswered(
        event_id=event_id,
        order_id=ORDER,
        task_id=delivery_task_of(notification_id, channel),
        notification_id=notification_id,
        channel=channel,
        status=status,
        answered_at=NOON + timedelta(seconds=2),
        reference="msg-1" if status == "delivered" else None,
        error_message="mailbox full" if status == "rejected" else None,
    )


def decide(state: Correspondence | None, message: Message) -> Decision[Correspondence]:
    return NOTIFICATION.decide(state, {}, message)


def after(*messages: Message) -> Correspondence:
    state: Correspondence | None = None
    for message in messages:
        state = decide(state, message).state
    assert state is not None
    return state


def found(state: Correspondence | None, notification_id: str = COMPLETED) -> Notification:
    assert state is not None
    return state.notifications[notification_id]


STATES: dict[str, Correspondence | None] = {
    "nothing known": None,
    "announced": after(event("order-completed")),
    "sending": after(command()),
    "sending on all channels, one answered": after(command(channels=ALL_CHANNELS), answered(channel="sms")),
    "delivered": after(command(), answered()),
    "partly": after(
        command(channels=ALL_CHANNELS[:2]), answered(), answered(channel="push", status="rejected", event_id="b")
    ),
    "undeliverable": after(command(channels=())),
    "another outcome delivered": after(event("order-shipped")),
    "foreign": after(command(template="survey", notification_id="survey-1")),
}
MESSAGES: dict[str, Message] = {
    **{outcome: event(outcome, "m") for outcome in OUTCOME_OF.values()},
    "command": command("m"),
    "command on all channels": command("m", channels=ALL_CHANNELS),
    "command to nobody": command("m", recipient=Recipient(customer_id="customer-1")),
    "foreign command": command("m", "survey", notification_id="survey-1"),
    "delivered": answered("m"),
    "rejected": answered("m", "rejected"),
    "delivered elsewhere": answered("m", channel="push"),
    "delivered of a notification nobody knows": answered("m", notification_id="nobody's"),
    "means nothing here": OrderCreated(
        event_id="m", order_id=ORDER, customer_id="customer-1", total_amount=ZERO, items=(), created_at=NOON
    ),
}


def test_every_message_it_takes_is_tried() -> None:
    taken = frozenset[type[Message]]().union(*NOTIFICATION.takes.values())
    assert taken <= {type(message) for message in MESSAGES.values()}
    assert set(OUTCOME_OF) < taken


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_state_has_a_decision_for_every_message_and_always_the_same(
    state: Correspondence | None, message: Message
) -> None:
    before = msgspec.json.encode(state)
    first, second = decide(state, message), decide(state, message)
    assert msgspec.json.encode(first, order="sorted") == msgspec.json.encode(second, order="sorted")
    assert msgspec.json.encode(state) == before
    assert first.messages == ()
    if first.state is not None:
        assert NOTIFICATION.aggregate.decode(NOTIFICATION.aggregate.encode(first.state)) == first.state
    if first.outcome != "applied":
        assert first == Decision(state=state, outcome=first.outcome)


@pytest.mark.parametrize("message", [command(order_id=""), OrderCompleted(event_id="e", completed_at=NOON)])
def test_a_message_that_names_no_order_is_refused(message: Message) -> None:
    with pytest.raises(Refused, match="orderId"):
        decide(None, message)


@pytest.mark.parametrize("outcome", OUTCOME_OF.values())
def test_an_event_that_comes_first_announces_its_notification_and_sends_nothing(outcome: str) -> None:
    decision = decide(None, event(outcome))
    assert found(decision.state, derive(ORDER, outcome)).status == "announced"
    assert (decision.tasks, decision.writes) == ((), ())


@pytest.mark.parametrize("outcome", OUTCOME_OF.values())
def test_event_and_command_collapse_into_one_notification_whichever_comes_first(outcome: str) -> None:
    event_first = after(event(outcome), command(template=outcome))
    command_first = after(command(template=outcome), event(outcome))
    for state in (event_first, command_first):
        assert list(state.notifications) == [derive(ORDER, outcome)]
        assert found(state, derive(ORDER, outcome)).status == "sending"
    assert decide(command_first, event(outcome, "m")).outcome == "repeated"


def test_a_command_for_an_announced_notification_starts_it() -> None:
    decision = decide(after(event("order-completed")), command())
    assert len(decision.tasks) == 1
    assert [(change.before, change.after) for change in decision.transitions] == [("announced", "sending")]
    assert found(decision.state).created_at == NOON


def test_a_repeated_command_sends_nothing_again() -> None:
    for state in (after(command()), after(command(), answered()), after(command(channels=()))):
        assert decide(state, command("m", channels=ALL_CHANNELS)) == Decision(state=state, outcome="repeated")


def test_one_call_per_channel_under_a_key_of_its_own_in_order_of_priority() -> None:
    calls = decide(None, command(channels=ALL_CHANNELS)).tasks
    assert [
        (call.provider, call.operation, call.key, call.arguments["address"]) for call in calls if isinstance(call, Call)
    ] == [
        ("email", "deliver", delivery_key_of(COMPLETED, "email"), "ada@example.com"),
        ("sms", "deliver", delivery_key_of(COMPLETED, "sms"), "+441234567"),
        ("push", "deliver", delivery_key_of(COMPLETED, "push"), "tok-987654"),
    ]
    assert len({call.task_id for call in calls}) == 3


def test_a_call_brings_the_rendered_text() -> None:
    (call,) = decide(None, command()).tasks
    assert isinstance(call, Call)
    assert call.arguments == {
        "notificationId": COMPLETED,
        "orderId": ORDER,
        "template": "order-completed",
        "subject": "Your order order-1 is complete",
        "body": "Thank you for your order order-1. Everything about it is settled.",
        "address": "ada@example.com",
    }


def test_a_channel_that_is_disabled_or_has_no_address_is_skipped() -> None:
    channels = (Channel(channel="email", enabled=False), Channel(channel="sms"), Channel(channel="push"))
    recipient = Recipient(customer_id="customer-1", email="ada@example.com", push_token="tok")
    decision = decide(None, command(channels=channels, recipient=recipient))
    assert {name: delivery.status for name, delivery in found(decision.state).channels.items()} == {
        "email": "skipped",
        "sms": "skipped",
        "push": "pending",
    }
    assert len(decision.tasks) == 1


def test_a_channel_that_is_named_twice_is_used_once() -> None:
    channels = (Channel(channel="email", enabled=False), Channel(channel="email"))
    assert len(decide(None, command(channels=channels)).tasks) == 1


@pytest.mark.parametrize(
    "undeliverable",
    [
        command(recipient=Recipient(customer_id="customer-1")),
        command(recipient=Recipient(customer_id="customer-1", email="")),
        command(channels=(Channel(channel="email", enabled=False),)),
        command(channels=()),
    ],
    ids=["no address", "empty address", "disabled", "no channels"],
)
def test_what_cannot_be_delivered_anywhere_is_recorded_and_no_fault(undeliverable: SendNotification) -> None:
    decision = decide(None, undeliverable)
    assert found(decision.state).status == "undeliverable"
    assert decision.outcome == "applied"
    (logged,) = decision.writes
    assert isinstance(logged, Append)
    assert (logged.values["status"], logged.values["sent_to"]) == ("undeliverable", "")
    assert decide(decision.state, event("order-completed")).outcome == "repeated"


@pytest.mark.parametrize(
    ("email", "sms", "status"),
    [
        ("delivered", "delivered", "delivered"),
        ("delivered", "rejected", "partly"),
        ("rejected", "delivered", "partly"),
        ("rejected", "rejected", "undeliverable"),
    ],
)
def test_the_status_follows_from_what_the_channels_answered(
    email: Literal["delivered", "rejected"], sms: Literal["delivered", "rejected"], status: str
) -> None:
    started = after(command(channels=(Channel(channel="email"), Channel(channel="sms"))))
    half = decide(started, answered("x", email)).state
    assert found(half).status == "sending"
    decision = decide(half, answered("y", sms, "sms"))
    assert found(decision.state).status == status
    assert decision.transitions[0].before == "sending"
    assert decision.transitions[0].after == status


def test_an_answer_is_kept_with_its_channel() -> None:
    decision = decide(after(command()), answered("m", "rejected"))
    assert found(decision.state).channels == {"email": Delivery(status="rejected", error="mailbox full")}
    (kept,) = decision.writes
    assert isinstance(kept, Append)
    assert kept.table == "delivery_attempts"
    assert kept.values["channel"] == "email"
    assert kept.values["error"] == "mailbox full"


def test_a_channels_first_answer_stands() -> None:
    for state in (after(command(), answered()), after(command(channels=ALL_CHANNELS), answered())):
        assert decide(state, answered("m", "rejected")) == Decision(state=state, outcome="late")


def test_only_what_is_being_sent_is_live() -> None:
    assert [name for name, state in STATES.items() if state is not None and is_live(state)] == [
        "sending",
        "sending on all channels, one answered",
        "foreign",
    ]


def test_no_address_is_kept_in_the_clear() -> None:
    decision = decide(None, command(channels=ALL_CHANNELS))
    kept = msgspec.json.encode((decision.state, decision.writes, decision.transitions))
    for address in (EVERYWHERE.email, EVERYWHERE.phone, EVERYWHERE.push_token):
        assert address is not None
        assert address.encode() not in kept
    (logged,) = decision.writes
    assert isinstance(logged, Append)
    assert logged.values["sent_to"] == "email a***@example.com, sms ***67, push ***54"


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("status", ["delivered", "rejected"])
def test_a_providers_answer_becomes_the_channels_outcome(channel: ChannelName, status: str) -> None:
    calls = decide(None, command(channels=ALL_CHANNELS)).tasks
    (call,) = (call for call in calls if isinstance(call, Call) and call.provider == channel)
    answer = ProviderAnswer(status=status, reference="msg-1", detail={"reason": "mailbox full"})
    message = NOTIFICATION.answers[f"{channel}/deliver"](call, answer, NOON)
    assert message == DeliveryAnswered(
        event_id=derive(call.task_id, "answered"),
        order_id=ORDER,
        task_id=call.task_id,
        notification_id=COMPLETED,
        channel=channel,
        status="delivered" if status == "delivered" else "rejected",
        answered_at=NOON,
        reference="msg-1",
        error_message="mailbox full",
    )


def test_an_answer_in_other_words_is_no_answer() -> None:
    (call,) = decide(None, command()).tasks
    assert isinstance(call, Call)
    with pytest.raises(Unclear, match="queued"):
        NOTIFICATION.answers["email/deliver"](call, ProviderAnswer(status="queued"), NOON)


@given(shuffled([*OUTCOME_OF.values()] * 2), shuffled([*OUTCOME_OF.values()] * 3), st.data())
def test_each_outcome_is_sent_once_in_whatever_order_events_and_commands_come(
    events: list[str], commands: list[str], data: st.DataObject
) -> None:
    waiting = [event(outcome, f"e{index}") for index, outcome in enumerate(events)]
    waiting += [command(f"c{index}", outcome, channels=ALL_CHANNELS[:2]) for index, outcome in enumerate(commands)]
    state: Correspondence | None = None
    calls: list[Call] = []
    for message in data.draw(shuffled(waiting)):
        decision = decide(state, message)
        state = decision.state
        calls += [task for task in decision.tasks if isinstance(task, Call)]
    assert state is not None
    assert set(state.notifications) == {derive(ORDER, outcome) for outcome in OUTCOME_OF.values()}
    assert sorted((call.arguments["template"], call.provider) for call in calls) == sorted(
        (outcome, channel) for outcome in OUTCOME_OF.values() for channel in ("email", "push")
    )
    for call in data.draw(shuffled(calls * 2)):
        answer = NOTIFICATION.answers[f"{call.provider}/deliver"](call, ProviderAnswer(status="delivered"), NOON)
        state = decide(state, answer).state
    assert state is not None
    assert {notification.status for notification in state.notifications.values()} == {"delivered"}
