"""What fulfillment decides, for every state and every message it takes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest

from orderflow.contexts.fulfillment import FULFILLMENT, Shipment
from orderflow.contexts.fulfillment.state import book_task_of, cancel_task_of, is_live, shipment_id_of
from orderflow.contracts.commands import CancelShipment, OrderFulfillmentRequested
from orderflow.contracts.decision import Append, Call, Decision, Refused
from orderflow.contracts.envelope import Message, Metadata
from orderflow.contracts.events import OrderCompleted, OrderShipmentFailed, OrderShipped, ShipmentCancelled
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, Item
from orderflow.contracts.outcomes import CarrierAnswered
from orderflow.providers.protocol import ProviderAnswer, Unclear

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
SHIPMENT = shipment_id_of(ORDER)


def request(event_id: str, request_id: str = "ship-1", order_id: str = ORDER) -> OrderFulfillmentRequested:
    return OrderFulfillmentRequested(
        event_id=event_id,
        order_id=order_id,
        metadata=Metadata(source="order", correlation_id="story-1", tenant="acme"),
        request_id=request_id,
        items=(Item(product_id="mug", quantity=2), Item(product_id="plate", quantity=3)),
        customer=Customer(customer_id="customer-1", name="Ada Lovelace"),
        requested_at=NOON,
        attempt=2,
    )


def cancel(event_id: str, request_id: str = "undo-1") -> CancelShipment:
    return CancelShipment(
        event_id=event_id,
        order_id=ORDER,
        request_id=request_id,
        reason="the payment failed",
        requested_at=NOON + timedelta(seconds=1),
    )


def answered(
    event_id: str, operation: Literal["book", "cancel"], status: Literal["shipped", "rejected", "cancelled"]
) -> CarrierAnswered:
    shipped = status == "shipped"
    return CarrierAnswered(
        event_id=event_id,
        order_id=ORDER,
        task_id=book_task_of(SHIPMENT) if operation == "book" else cancel_task_of(SHIPMENT),
        shipment_id=SHIPMENT,
        operation=operation,
        status=status,
        answered_at=NOON + timedelta(seconds=2),
        carrier="Swift Parcel" if shipped else None,
        tracking_number="SWP-1" if shipped else None,
        error_message="too heavy" if status == "rejected" else None,
    )


def decide(state: Shipment | None, message: Message) -> Decision[Shipment]:
    return FULFILLMENT.decide(state, {}, message)


def after(*messages: Message) -> Shipment:
    state: Shipment | None = None
    for message in messages:
        state = decide(state, message).state
    assert state is not None
    return state


BOOKING = after(request("a"))
CANCELLING = after(request("a"), cancel("b"))
SHIPPED = after(request("a"), answered("b", "book", "shipped"))
SHIPPED_TOO_LATE_TO_CANCEL = after(request("a"), cancel("b"), answered("c", "cancel", "shipped"))
FAILED = after(request("a"), answered("b", "book", "rejected"))
FAILED_THEN_CANCELLED = after(request("a"), answered("b", "book", "rejected"), cancel("c"))
CANCELLED = after(request("a"), cancel("b"), answered("c", "cancel", "cancelled"))
TOMBSTONE = after(cancel("a"))

STATES: dict[str, Shipment | None] = {
    "nothing known": None,
    "booking": BOOKING,
    "cancelling": CANCELLING,
    "shipped": SHIPPED,
    "shipped, too late to cancel": SHIPPED_TOO_LATE_TO_CANCEL,
    "failed": FAILED,
    "failed, then cancelled": FAILED_THEN_CANCELLED,
    "cancelled": CANCELLED,
    "tombstone": TOMBSTONE,
}
MESSAGES: dict[str, Message] = {
    "asks": request("m"),
    "asks under another request": request("m", "ship-2"),
    "cancels": cancel("m"),
    "cancels under another request": cancel("m", "undo-2"),
    "booking shipped": answered("m", "book", "shipped"),
    "booking rejected": answered("m", "book", "rejected"),
    "booking found cancelled": answered("m", "book", "cancelled"),
    "cancellation shipped": answered("m", "cancel", "shipped"),
    "cancellation found rejected": answered("m", "cancel", "rejected"),
    "cancellation cancelled": answered("m", "cancel", "cancelled"),
    "means nothing here": OrderCompleted(event_id="m", order_id=ORDER, completed_at=NOON),
}


def test_every_message_it_takes_is_tried() -> None:
    taken = frozenset[type[Message]]().union(*FULFILLMENT.takes.values())
    assert taken <= {type(message) for message in MESSAGES.values()}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_state_has_a_decision_for_every_message_and_always_the_same(
    state: Shipment | None, message: Message
) -> None:
    before = msgspec.json.encode(state)
    first, second = decide(state, message), decide(state, message)
    assert msgspec.json.encode(first, order="sorted") == msgspec.json.encode(second, order="sorted")
    assert msgspec.json.encode(state) == before
    if first.state is not None:
        assert FULFILLMENT.aggregate.decode(FULFILLMENT.aggregate.encode(first.state)) == first.state
    if first.outcome != "applied":
        assert first.state == state
        assert not first.tasks
        assert not first.transitions
    for reply in first.messages:
        assert reply.event_id == derive(message.event_id, reply.event_type)
        assert reply.metadata.causation_id == message.event_id
        assert reply.metadata.source == "fulfillment"
        assert reply.order_id == ORDER


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_what_is_settled_stays_settled(state: Shipment | None) -> None:
    if state is None or is_live(state):
        return
    for message in MESSAGES.values():
        settled = decide(state, message).state
        assert settled is not None
        assert (settled.status == "shipped") == (state.status == "shipped")
        assert not is_live(settled)


def test_a_message_that_names_no_order_is_refused() -> None:
    with pytest.raises(Refused, match="orderId"):
        decide(None, request("a", order_id=""))


def test_a_request_books_the_carrier_under_the_shipments_own_key() -> None:
    decision = decide(None, request("a"))
    assert decision.tasks == (
        Call(
            task_id=book_task_of(SHIPMENT),
            provider="carrier",
            operation="book",
            key=SHIPMENT,
            arguments={"shipmentId": SHIPMENT, "orderId": ORDER, "customerId": "customer-1", "pieces": "5"},
        ),
    )
    assert decision.messages == ()
    assert [(change.before, change.after, change.attempt) for change in decision.transitions] == [("", "booking", 2)]


def test_no_name_reaches_the_carrier_or_the_state() -> None:
    assert b"Ada" not in msgspec.json.encode(decide(None, request("a")))


def test_a_repeated_request_gets_nothing_while_the_carrier_is_being_asked() -> None:
    for state in (BOOKING, CANCELLING):
        assert decide(state, request("m")) == Decision(state=state, outcome="repeated")


def test_the_carriers_yes_is_order_shipped() -> None:
    decision = decide(BOOKING, answered("m", "book", "shipped"))
    assert decision.messages == (
        OrderShipped(
            event_id=derive("m", "OrderShipped"),
            order_id=ORDER,
            metadata=Metadata(source="fulfillment", correlation_id=ORDER, causation_id="m"),
            shipment_id=SHIPMENT,
            carrier="Swift Parcel",
            tracking_number="SWP-1",
            shipped_at=NOON + timedelta(seconds=2),
            request_id="ship-1",
        ),
    )
    assert decision.state == SHIPPED


def test_the_carriers_no_is_order_shipment_failed_with_its_reason() -> None:
    (reply,) = decide(BOOKING, answered("m", "book", "rejected")).messages
    assert isinstance(reply, OrderShipmentFailed)
    assert (reply.error_message, reply.request_id) == ("too heavy", "ship-1")


@pytest.mark.parametrize(
    ("settled", "reply_type"),
    [(SHIPPED, OrderShipped), (FAILED, OrderShipmentFailed), (CANCELLED, OrderShipmentFailed)],
    ids=["shipped", "failed", "cancelled"],
)
def test_a_repeated_request_is_answered_from_the_state(settled: Shipment, reply_type: type[Message]) -> None:
    for event_id in ("m", "n"):
        (reply,) = decide(settled, request(event_id)).messages
        assert type(reply) is reply_type
        assert reply.event_id == derive(event_id, reply.event_type)
        assert getattr(reply, "request_id", None) == "ship-1"
        assert reply.occurred_at == settled.settled_at


def test_a_cancellation_before_its_request_leaves_a_tombstone_that_refuses_the_request() -> None:
    buried = decide(None, cancel("a"))
    (reply,) = buried.messages
    assert isinstance(reply, ShipmentCancelled)
    assert reply.request_id == "undo-1"
    assert not buried.tasks
    refused = decide(buried.state, request("b"))
    (reply,) = refused.messages
    assert isinstance(reply, OrderShipmentFailed)
    assert reply.request_id == "ship-1"
    assert not refused.tasks
    assert refused.outcome == "late"


def test_cancelling_a_booking_ends_it_and_asks_the_carrier_which_came_first() -> None:
    decision = decide(BOOKING, cancel("m"))
    assert decision.ended == (book_task_of(SHIPMENT),)
    (call,) = decision.tasks
    assert isinstance(call, Call)
    assert (call.provider, call.operation, call.key) == ("carrier", "cancel", SHIPMENT)
    assert decision.messages == ()


@pytest.mark.parametrize("operation", ["book", "cancel"])
def test_shipped_after_all_is_order_shipped_to_the_cancellation(operation: Literal["book", "cancel"]) -> None:
    decision = decide(CANCELLING, answered("m", operation, "shipped"))
    (reply,) = decision.messages
    assert isinstance(reply, OrderShipped)
    assert (reply.request_id, reply.carrier, reply.tracking_number) == ("undo-1", "Swift Parcel", "SWP-1")


@pytest.mark.parametrize(
    "answer",
    [answered("m", "cancel", "cancelled"), answered("m", "cancel", "rejected"), answered("m", "book", "rejected")],
    ids=["cancelled", "cancel finds it rejected", "the booking is rejected"],
)
def test_not_shipped_after_all_is_shipment_cancelled(answer: CarrierAnswered) -> None:
    (reply,) = decide(CANCELLING, answer).messages
    assert isinstance(reply, ShipmentCancelled)
    assert reply.request_id == "undo-1"


def test_a_bookings_answer_while_cancelling_spares_the_cancellation() -> None:
    decision = decide(CANCELLING, answered("m", "book", "shipped"))
    assert decision.ended == (cancel_task_of(SHIPMENT),)
    late = decide(decision.state, answered("n", "cancel", "shipped"))
    assert (late.outcome, late.messages, late.state) == ("late", (), decision.state)


def test_cancelling_what_has_left_is_answered_by_order_shipped() -> None:
    decision = decide(SHIPPED, cancel("m"))
    (reply,) = decision.messages
    assert isinstance(reply, OrderShipped)
    assert reply.request_id == "undo-1"
    assert (decision.state, decision.outcome) == (SHIPPED, "late")


def test_cancelling_what_the_carrier_refused_asks_nobody() -> None:
    decision = decide(FAILED, cancel("m"))
    assert [type(reply) for reply in decision.messages] == [ShipmentCancelled]
    assert not decision.tasks
    (reply,) = decide(decision.state, request("n")).messages
    assert isinstance(reply, OrderShipmentFailed)
    assert reply.error_message == "too heavy"


def test_a_repeated_cancellation_is_answered_from_the_state() -> None:
    assert decide(CANCELLING, cancel("m")) == Decision(state=CANCELLING, outcome="repeated")
    for cancelled in (CANCELLED, TOMBSTONE, FAILED_THEN_CANCELLED):
        decision = decide(cancelled, cancel("m"))
        assert [type(reply) for reply in decision.messages] == [ShipmentCancelled]
        assert (decision.state, decision.outcome) == (cancelled, "repeated")


def test_every_definitive_answer_is_kept_also_a_late_one() -> None:
    for state in (BOOKING, CANCELLING, SHIPPED, TOMBSTONE):
        (kept,) = decide(state, answered("m", "book", "rejected")).writes
        assert isinstance(kept, Append)
        assert kept.table == "shipment_attempts"
        assert kept.values == {
            "event_id": "m",
            "shipment_id": SHIPMENT,
            "operation": "book",
            "status": "rejected",
            "error": "too heavy",
            "at": NOON + timedelta(seconds=2),
        }


def call(operation: str) -> Call:
    tasks: Sequence[object] = decide(None, request("a")).tasks if operation == "book" else ()
    tasks = tasks or decide(BOOKING, cancel("b")).tasks
    (found,) = tasks
    assert isinstance(found, Call)
    return found


def test_a_shipped_answer_carries_carrier_and_tracking_number() -> None:
    answer = ProviderAnswer(status="shipped", reference="SWP-1", detail={"carrier": "Swift Parcel"})
    for operation in ("book", "cancel"):
        message = FULFILLMENT.answers[f"carrier/{operation}"](call(operation), answer, NOON)
        assert isinstance(message, CarrierAnswered)
        assert (message.order_id, message.shipment_id, message.operation) == (ORDER, SHIPMENT, operation)
        assert (message.carrier, message.tracking_number) == ("Swift Parcel", "SWP-1")
        assert message.event_id == derive(call(operation).task_id, "answered")
        assert message.occurred_at == NOON


def test_a_rejection_carries_its_reason_and_no_tracking_number() -> None:
    answer = ProviderAnswer(status="rejected", reference="case-7", detail={"reason": "too heavy"})
    message = FULFILLMENT.answers["carrier/book"](call("book"), answer, NOON)
    assert isinstance(message, CarrierAnswered)
    assert (message.status, message.error_message, message.tracking_number) == ("rejected", "too heavy", None)


def test_an_answer_in_other_words_is_no_answer() -> None:
    with pytest.raises(Unclear, match="lost"):
        FULFILLMENT.answers["carrier/book"](call("book"), ProviderAnswer(status="lost"), NOON)
