"""What payment decides, for every state and every message it takes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.contexts.payment import PAYMENT
from orderflow.contexts.payment.state import (
    Payment,
    charge_task_of,
    is_live,
    payment_id_of,
    refund_id_of,
    refund_task_of,
)
from orderflow.contracts.commands import OrderPaymentRequested, RefundPayment
from orderflow.contracts.decision import Append, Call, Decision, Refused
from orderflow.contracts.envelope import Message, Metadata
from orderflow.contracts.events import OrderCompleted, PaymentFailed, PaymentRefunded, PaymentSucceeded
from orderflow.contracts.identity import derive
from orderflow.contracts.outcomes import ChargeAnswered, RefundAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
PAYMENT_ID = payment_id_of(ORDER)
PRICE = Decimal("49.90")


def request(event_id: str, request_id: str = "pay-1", amount: Decimal = PRICE, attempt: int = 1) -> Message:
    return OrderPaymentRequested(
        event_id=event_id,
        order_id=ORDER,
        metadata=Metadata(source="order", correlation_id="story-1", tenant="acme"),
        request_id=request_id,
        customer_id="customer-1",
        amount=amount,
        requested_at=NOON,
        attempt=attempt,
    )


def refund(event_id: str, request_id: str = "undo-1", payment_id: str | None = None) -> Message:
    return RefundPayment(
        event_id=event_id,
        order_id=ORDER,
        request_id=request_id,
        amount=PRICE,
        reason="the shelf was empty",
        requested_at=NOON + timedelta(seconds=1),
        payment_id=payment_id,
    )


def charged(event_id: str, task_id: str = charge_task_of(PAYMENT_ID), amount: Decimal = PRICE) -> Message:
    return ChargeAnswered(
        event_id=event_id,
        order_id=ORDER,
        task_id=task_id,
        payment_id=PAYMENT_ID,
        status="succeeded",
        amount=amount,
        answered_at=NOON + timedelta(seconds=2),
        reference="ch_1",
    )


def declined(event_id: str) -> Message:
    return ChargeAnswered(
        event_id=event_id,
        order_id=ORDER,
        task_id=charge_task_of(PAYMENT_ID),
        payment_id=PAYMENT_ID,
        status="declined",
        amount=PRICE,
        answered_at=NOON + timedelta(seconds=2),
        failure_reason="insufficient funds",
    )


def refund_made(event_id: str, amount: Decimal = PRICE) -> Message:
    return RefundAnswered(
        event_id=event_id,
        order_id=ORDER,
        task_id=refund_task_of(PAYMENT_ID),
        payment_id=PAYMENT_ID,
        status="succeeded",
        amount=amount,
        answered_at=NOON + timedelta(seconds=3),
        reference="re_1",
    )


def decide(state: Payment | None, message: Message) -> Decision[Payment]:
    return PAYMENT.decide(state, {}, message)


def after(messages: Sequence[Message]) -> Payment | None:
    state: Payment | None = None
    for message in messages:
        state = decide(state, message).state
    return state


STATES: dict[str, Payment | None] = {
    "nothing known": None,
    "charging": after([request("a")]),
    "charging, refund waits": after([request("a"), refund("b")]),
    "succeeded": after([request("a"), charged("b")]),
    "failed": after([request("a"), declined("b")]),
    "refunding": after([request("a"), charged("b"), refund("c")]),
    "refunded": after([request("a"), charged("b"), refund("c"), refund_made("d")]),
    "refused": after([refund("a")]),
}

MESSAGES: dict[str, Message] = {
    "asks": request("m", attempt=2),
    "asks under another request": request("m", "pay-2"),
    "asks for another amount": request("m", amount=Decimal("50.00")),
    "undoes": refund("m"),
    "undoes under another request": refund("m", "undo-2"),
    "charge succeeded": charged("m"),
    "charge declined": declined("m"),
    "a charge of another task": charged("m", task_id="task-of-nobody"),
    "refund made": refund_made("m"),
}

DEAD = "dead letter"
LATE = "late"
CHARGE = "applied charging +charge"
REFUSAL = "late PaymentFailed"

# For each state, what becomes of each message above: the outcome, the state afterwards where it changes, the replies,
# the calls (+) and the ledger entries (#).
TABLE: dict[str, tuple[str, ...]] = {
    "nothing known": (
        CHARGE,
        CHARGE,
        CHARGE,
        "applied refused PaymentRefunded",
        "applied refused PaymentRefunded",
        LATE,
        LATE,
        LATE,
        LATE,
    ),
    "charging": (
        "repeated",
        "repeated",
        DEAD,
        "applied charging",
        "applied charging",
        "applied succeeded PaymentSucceeded #charge #charge",
        "applied failed PaymentFailed",
        LATE,
        LATE,
    ),
    "charging, refund waits": (
        "repeated",
        "repeated",
        DEAD,
        "repeated",
        "repeated",
        "applied refunding PaymentSucceeded +refund #charge #charge",
        "applied failed PaymentFailed PaymentRefunded",
        LATE,
        LATE,
    ),
    "succeeded": (
        "repeated PaymentSucceeded",
        "repeated PaymentSucceeded",
        DEAD,
        "applied refunding +refund",
        "applied refunding +refund",
        LATE,
        LATE,
        LATE,
        LATE,
    ),
    "failed": (
        "repeated PaymentFailed",
        "repeated PaymentFailed",
        "repeated PaymentFailed",
        "repeated PaymentRefunded",
        "repeated PaymentRefunded",
        LATE,
        LATE,
        LATE,
        LATE,
    ),
    "refunding": (
        LATE,
        LATE,
        LATE,
        "repeated",
        "repeated",
        LATE,
        LATE,
        LATE,
        "applied refunded PaymentRefunded #refund #refund",
    ),
    "refunded": (
        REFUSAL,
        REFUSAL,
        REFUSAL,
        "repeated PaymentRefunded",
        "repeated PaymentRefunded",
        LATE,
        LATE,
        LATE,
        LATE,
    ),
    "refused": (
        REFUSAL,
        REFUSAL,
        REFUSAL,
        "repeated PaymentRefunded",
        "repeated PaymentRefunded",
        LATE,
        LATE,
        LATE,
        LATE,
    ),
}

CELLS = [
    (state, message, expected) for state, row in TABLE.items() for message, expected in zip(MESSAGES, row, strict=True)
]


def outcome_of(before: Payment | None, message: Message) -> str:
    try:
        decision = decide(before, message)
    except Refused:
        return DEAD
    words: list[str] = [decision.outcome]
    if decision.state != before and decision.state is not None:
        words.append(decision.state.status)
    words += [reply.event_type for reply in decision.messages]
    words += [f"+{task.operation}" for task in decision.tasks if isinstance(task, Call)]
    words += [f"#{write.values['kind']}" for write in decision.writes]
    return " ".join(words)


def test_the_table_names_every_state_and_every_type_taken() -> None:
    assert TABLE.keys() == STATES.keys()
    assert {type(message) for message in MESSAGES.values()} == PAYMENT.takes["payment-commands"]
    assert list(PAYMENT.takes) == ["payment-commands"]


@pytest.mark.parametrize(("state", "message", "expected"), CELLS, ids=[f"{cell[0]}: {cell[1]}" for cell in CELLS])
def test_every_message_has_one_outcome_in_every_state(state: str, message: str, expected: str) -> None:
    assert outcome_of(STATES[state], MESSAGES[message]) == expected


def test_what_changes_the_state_is_in_the_audit_trail_and_nothing_else_is() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        before = STATES[state]
        decision = decide(before, MESSAGES[message])
        assert bool(decision.transitions) == (decision.state != before) == (decision.outcome == "applied")
        if decision.transitions and decision.state:
            assert decision.transitions[0].before == (before.status if before else "")
            assert decision.transitions[-1].after == decision.state.status


def test_a_decision_replayed_from_its_recorded_input_is_the_same_to_the_byte() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        before = STATES[state]
        recorded_state = PAYMENT.aggregate.decode(PAYMENT.aggregate.encode(before)) if before else None
        told = MESSAGES[message]
        recorded_message = msgspec.json.decode(msgspec.json.encode(told), type=type(told))
        first = msgspec.json.encode(decide(before, told))
        assert msgspec.json.encode(decide(recorded_state, recorded_message)) == first


def test_every_reply_is_the_orders_own_and_names_what_caused_it() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        for reply in decide(STATES[state], MESSAGES[message]).messages:
            assert (reply.order_id, reply.metadata.source, reply.metadata.causation_id) == (ORDER, "payment", "m")
            assert reply.event_id == derive("m", reply.event_type)


def test_a_charge_is_called_under_the_payments_own_key() -> None:
    (call,) = decide(None, request("a")).tasks
    assert isinstance(call, Call)
    assert (call.provider, call.operation, call.key) == ("card", "charge", derive(ORDER, "payment"))
    assert call.arguments == {
        "paymentId": PAYMENT_ID,
        "orderId": ORDER,
        "customerId": "customer-1",
        "amount": "49.90",
    }


def test_a_refund_is_called_for_what_was_captured_under_a_key_of_its_own() -> None:
    (call,) = decide(STATES["succeeded"], refund("c")).tasks
    assert isinstance(call, Call)
    assert (call.provider, call.operation, call.key) == ("card", "refund", derive(PAYMENT_ID, "refund"))
    assert call.arguments == {"paymentId": PAYMENT_ID, "orderId": ORDER, "amount": "49.90", "reference": "ch_1"}


def test_an_ask_repeated_is_answered_with_the_first_answers_content_and_its_own_id() -> None:
    first = decide(STATES["charging"], charged("b")).messages[0]
    again = decide(STATES["succeeded"], request("c", attempt=2)).messages[0]
    assert isinstance(first, PaymentSucceeded)
    assert isinstance(again, PaymentSucceeded)
    assert again.event_id != first.event_id
    assert msgspec.structs.replace(again, event_id=first.event_id, metadata=first.metadata) == first


def test_a_decline_is_told_with_its_reason() -> None:
    (reply,) = decide(STATES["charging"], declined("b")).messages
    assert isinstance(reply, PaymentFailed)
    assert (reply.failure_reason, reply.amount, reply.request_id) == ("insufficient funds", PRICE, "pay-1")


def test_a_refund_is_answered_under_the_request_that_asked_for_it() -> None:
    (reply,) = decide(STATES["refunding"], refund_made("d")).messages
    assert isinstance(reply, PaymentRefunded)
    assert (reply.request_id, reply.amount, reply.refund_id) == ("undo-1", PRICE, refund_id_of(PAYMENT_ID))


@pytest.mark.parametrize(
    ("state", "message"),
    [("nothing known", refund("m")), ("failed", refund("m")), ("charging, refund waits", declined("m"))],
    ids=["never asked", "declined", "declined while the refund waited"],
)
def test_where_nothing_was_charged_the_refund_is_of_nothing(state: str, message: Message) -> None:
    reply = decide(STATES[state], message).messages[-1]
    assert isinstance(reply, PaymentRefunded)
    assert (str(reply.amount), reply.request_id) == ("0.00", "undo-1")


def test_a_request_after_its_compensation_is_refused_with_the_reason() -> None:
    (reply,) = decide(STATES["refused"], request("z")).messages
    assert isinstance(reply, PaymentFailed)
    assert (reply.amount, reply.request_id) == (PRICE, "pay-1")
    assert "compensated before" in reply.failure_reason


def test_an_amount_is_the_same_however_many_zeros_it_is_written_with() -> None:
    state = after([request("a", amount=Decimal(10))])
    assert state is not None
    assert str(state.amount) == "10.00"
    assert decide(state, request("b", amount=Decimal("10.000"))).outcome == "repeated"


def test_a_refund_of_another_payment_is_refused() -> None:
    with pytest.raises(Refused, match="no payment elsewhere"):
        decide(STATES["succeeded"], refund("a", payment_id="elsewhere"))
    assert decide(STATES["succeeded"], refund("a", payment_id=PAYMENT_ID)).outcome == "applied"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("charging", charged("m", amount=Decimal("49.91"))),
        ("refunding", refund_made("m", amount=Decimal("49.89"))),
    ],
    ids=["charge", "refund"],
)
def test_a_provider_that_moved_another_sum_is_not_believed_in_silence(state: str, message: Message) -> None:
    with pytest.raises(Refused, match=r"is of 49\.90"):
        decide(STATES[state], message)


def test_what_is_not_addressed_to_payment_means_nothing_here() -> None:
    decision = decide(None, OrderCompleted(event_id="a", order_id=ORDER, completed_at=NOON))
    assert decision == Decision(state=None, outcome="ignored")


def test_a_payment_lives_while_the_provider_owes_an_answer() -> None:
    living = {name for name, state in STATES.items() if state and is_live(state)}
    assert living == {"charging", "charging, refund waits", "refunding"}


def test_a_waiting_refund_shows_in_both_transitions() -> None:
    decision = decide(STATES["charging, refund waits"], charged("m"))
    moves = [(move.before, move.after) for move in decision.transitions]
    assert moves == [("charging", "succeeded"), ("succeeded", "refunding")]


def asking() -> tuple[Call, Call]:
    (charge,) = decide(None, request("a")).tasks
    (give_back,) = decide(STATES["succeeded"], refund("c")).tasks
    assert isinstance(charge, Call)
    assert isinstance(give_back, Call)
    return charge, give_back


def test_the_providers_answers_become_the_messages_that_decide() -> None:
    charge, give_back = asking()
    made = PAYMENT.answers["card/charge"](charge, ProviderAnswer(status="succeeded", reference="ch_1"), NOON)
    no = ProviderAnswer(status="declined", detail={"reason": "insufficient funds"})
    not_made = PAYMENT.answers["card/charge"](charge, no, NOON)
    returned = PAYMENT.answers["card/refund"](give_back, ProviderAnswer(status="succeeded", reference="re_1"), NOON)
    assert outcome_of(STATES["charging"], made) == "applied succeeded PaymentSucceeded #charge #charge"
    assert outcome_of(STATES["charging"], not_made) == "applied failed PaymentFailed"
    assert isinstance(not_made, ChargeAnswered)
    assert not_made.failure_reason == "insufficient funds"
    assert outcome_of(STATES["refunding"], returned) == "applied refunded PaymentRefunded #refund #refund"
    assert made.event_id == derive(charge.task_id, "answered")


def test_an_answer_in_unknown_words_is_no_answer() -> None:
    charge, give_back = asking()
    with pytest.raises(Unclear, match="'pending'"):
        PAYMENT.answers["card/charge"](charge, ProviderAnswer(status="pending"), NOON)
    with pytest.raises(Unclear, match="'declined'"):
        PAYMENT.answers["card/refund"](give_back, ProviderAnswer(status="declined"), NOON)


class World:
    """A payment, the card provider behind it, and the books."""

    def __init__(self, *, accepts: bool) -> None:
        self.state: Payment | None = None
        self.accepts = accepts
        self.open: list[Call] = []
        self.taken: dict[str, Decimal] = {}
        self.entries: dict[str, Append] = {}
        self.answered: list[Message] = []
        self.undone = False
        self.messages = 0

    def step(self, action: str) -> None:
        if action == "answer":
            if self.open:
                self.hear(self.carry_out(self.open.pop(0)))
            return
        self.messages += 1
        event_id = f"event-{self.messages}"
        if action == "late answer":
            self.hear(charged(event_id, task_id="task-of-nobody"))
        elif action == "undo":
            self.undone = True
            self.hear(refund(event_id))
        else:
            amount = PRICE + 1 if action == "ask for more" else PRICE
            self.hear(request(event_id, "pay-2" if action == "ask anew" else "pay-1", amount))

    def hear(self, message: Message) -> None:
        try:
            decision = decide(self.state, message)
        except Refused:
            return
        self.state = decision.state
        self.answered += decision.messages
        for task in decision.tasks:
            assert isinstance(task, Call)
            self.open.append(task)
        for write in decision.writes:
            assert isinstance(write, Append)
            assert write.values["id"] not in self.entries, "booked twice"
            self.entries[write.values["id"]] = write

    def carry_out(self, call: Call) -> Message:
        status = "declined" if call.operation == "charge" and not self.accepts else "succeeded"
        if status == "succeeded":
            assert call.operation not in self.taken, "never a second one"
            self.taken[call.operation] = Decimal(call.arguments["amount"])
        answers = PAYMENT.answers[f"card/{call.operation}"]
        return answers(call, ProviderAnswer(status=status, reference="ref"), NOON)

    def balance(self, account: str) -> Decimal:
        rows = [entry.values for entry in self.entries.values() if entry.values["account"] == account]
        return sum((row["debit"] - row["credit"] for row in rows), Decimal())


ACTIONS = st.sampled_from(["ask", "ask again", "ask anew", "ask for more", "undo", "answer", "late answer"])


@given(actions=st.lists(ACTIONS, max_size=12), accepts=st.booleans())
def test_money_in_is_money_out_whatever_comes_in_whatever_order(actions: list[str], accepts: bool) -> None:
    world = World(accepts=accepts)
    for action in actions:
        world.step(action)
    while world.open:
        world.step("answer")
    captured, refunded = (world.taken.get(operation, Decimal()) for operation in ("charge", "refund"))
    state = world.state
    if state is not None:
        assert (state.captured, state.refunded) == (captured, refunded)
        assert not is_live(state)
    assert world.balance("provider-clearing") == captured - refunded
    assert world.balance("customer-receipts") == -captured
    assert world.balance("customer-refunds") == refunded
    if world.undone:
        assert captured == refunded
        assert any(isinstance(reply, PaymentRefunded) for reply in world.answered)
    elif "ask" in actions:
        assert any(isinstance(reply, PaymentSucceeded if accepts else PaymentFailed) for reply in world.answered)
