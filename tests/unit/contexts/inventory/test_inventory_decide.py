"""What inventory decides, for every state and every message it takes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from orderflow.contexts.inventory import INVENTORY, inventory_context
from orderflow.contexts.inventory.state import (
    Reservation,
    StockLevel,
    is_live,
    reservation_id_of,
    review_task_of,
)
from orderflow.contexts.inventory.stock import opened
from orderflow.contracts import codec
from orderflow.contracts.commands import ConfirmReservation, OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.decision import Decision, Refused, Timer
from orderflow.contracts.envelope import Message, Metadata
from orderflow.contracts.events import (
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderCompleted,
    ProductChanged,
    ReservationExpiring,
)
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item, ShortItem
from orderflow.contracts.outcomes import ReservationDue

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
EXPIRY = NOON + timedelta(minutes=15)
ORDER = "order-1"
RESERVATION_ID = reservation_id_of(ORDER)
TWO_CUPS = (Item(product_id="cup", quantity=2),)
STOCK: Mapping[str, StockLevel] = {
    "cup": opened("cup", "Cup", Decimal("7.50"), 5, NOON),
    "jug": opened("jug", "Jug", Decimal("19.00"), 1, NOON),
}


def request(event_id: str, items: tuple[Item, ...] = TWO_CUPS, request_id: str = "res-1", attempt: int = 1) -> Message:
    return OrderInventoryRequested(
        event_id=event_id,
        order_id=ORDER,
        metadata=Metadata(source="order", correlation_id="story-1", tenant="acme"),
        request_id=request_id,
        items=items,
        requested_at=NOON,
        attempt=attempt,
    )


def release(event_id: str, request_id: str = "undo-1", reservation_id: str | None = None) -> Message:
    return ReleaseInventory(
        event_id=event_id,
        order_id=ORDER,
        request_id=request_id,
        reason="the card was declined",
        requested_at=NOON + timedelta(minutes=1),
        reservation_id=reservation_id,
    )


def confirm(event_id: str, until: datetime, reservation_id: str = RESERVATION_ID) -> Message:
    return ConfirmReservation(
        event_id=event_id,
        order_id=ORDER,
        request_id="keep-1",
        reservation_id=reservation_id,
        until=until,
        requested_at=EXPIRY,
    )


def due(event_id: str, review: int = 1) -> Message:
    return ReservationDue(
        event_id=event_id, order_id=ORDER, reservation_id=RESERVATION_ID, review=review, due_at=EXPIRY
    )


def completed(event_id: str) -> Message:
    return OrderCompleted(event_id=event_id, order_id=ORDER, completed_at=NOON + timedelta(seconds=9))


def decide(
    state: Reservation | None, message: Message, stock: Mapping[str, StockLevel] = STOCK
) -> Decision[Reservation]:
    """Decide with no more of the stock than was asked for."""
    assert INVENTORY.shared is not None
    needed = set(INVENTORY.shared.needs(state, message))
    return INVENTORY.decide(state, {key: level for key, level in stock.items() if key in needed}, message)


def after(messages: Sequence[Message]) -> tuple[Reservation | None, Mapping[str, StockLevel]]:
    state: Reservation | None = None
    stock = STOCK
    for message in messages:
        decision = decide(state, message, stock)
        state, stock = decision.state, {**stock, **decision.shared}
    return state, stock


NINE_CUPS = (Item(product_id="cup", quantity=9),)
KEPT = EXPIRY + timedelta(minutes=15)
STATES = {
    "nothing known": after([]),
    "reserved": after([request("a")]),
    "reviewed": after([request("a"), due("b")]),
    "failed": after([request("a", NINE_CUPS)]),
    "released": after([request("a"), release("b")]),
    "consumed": after([request("a"), completed("b")]),
    "refused": after([release("a")]),
}

MESSAGES: dict[str, Message] = {
    "asks": request("m", attempt=2),
    "asks under another request": request("m", request_id="res-2"),
    "asks for other items": request("m", (Item(product_id="jug", quantity=1),)),
    "releases": release("m"),
    "releases under another request": release("m", "undo-2"),
    "keeps it": confirm("m", KEPT),
    "keeps it no longer than before": confirm("m", EXPIRY),
    "keeps it less long than before": confirm("m", NOON),
    "keeps another's": confirm("m", KEPT, reservation_id="another"),
    "first review": due("m", review=1),
    "second review": due("m", review=2),
    "completes": completed("m"),
}

DEAD = "dead letter"
LATE = "late"
TAKEN = "applied reserved InventoryReserved +timer cup"
TOMBSTONE = "applied refused InventoryReleased"
NOT_NOW = "repeated InventoryReleased"
REFUSAL = "late InventoryFailed"

# For each state, what becomes of each message above: the outcome, the state afterwards where it changes, the replies,
# the timers (+ set, - ended) and the products whose stock changes.
TABLE: dict[str, tuple[str, ...]] = {
    "nothing known": (
        TAKEN,
        TAKEN,
        "applied reserved InventoryReserved +timer jug",
        TOMBSTONE,
        TOMBSTONE,
        LATE,
        LATE,
        LATE,
        LATE,
        LATE,
        LATE,
        "ignored",
    ),
    "reserved": (
        "repeated InventoryReserved",
        "repeated InventoryReserved",
        DEAD,
        "applied released InventoryReleased -timer cup",
        "applied released InventoryReleased -timer cup",
        "applied reserved +timer -timer",
        "repeated",
        LATE,
        LATE,
        "applied reserved ReservationExpiring +timer",
        LATE,
        "applied consumed -timer cup",
    ),
    "reviewed": (
        "repeated InventoryReserved",
        "repeated InventoryReserved",
        DEAD,
        "applied released InventoryReleased -timer cup",
        "applied released InventoryReleased -timer cup",
        "applied reserved +timer -timer",
        "repeated",
        LATE,
        LATE,
        LATE,
        "applied reserved ReservationExpiring +timer",
        "applied consumed -timer cup",
    ),
    "failed": (*["repeated InventoryFailed"] * 3, NOT_NOW, NOT_NOW, *[LATE] * 7),
    "released": (*[REFUSAL] * 3, NOT_NOW, NOT_NOW, *[LATE] * 7),
    "consumed": (
        "repeated InventoryReserved",
        "repeated InventoryReserved",
        DEAD,
        DEAD,
        DEAD,
        *[LATE] * 6,
        "repeated",
    ),
    "refused": (*[REFUSAL] * 3, NOT_NOW, NOT_NOW, *[LATE] * 7),
}

CELLS = [
    (state, message, expected) for state, row in TABLE.items() for message, expected in zip(MESSAGES, row, strict=True)
]


def outcome_of(state: str, message: Message) -> str:
    before, stock = STATES[state]
    try:
        decision = decide(before, message, stock)
    except Refused:
        return DEAD
    words: list[str] = [decision.outcome]
    if decision.state != before and decision.state is not None:
        words.append(decision.state.status)
    words += [reply.event_type for reply in decision.messages]
    words += ["+timer" for task in decision.tasks if isinstance(task, Timer)]
    words += ["-timer" for _ in decision.ended]
    words += sorted(decision.shared)
    return " ".join(words)


def test_the_table_names_every_state_and_every_type_taken() -> None:
    assert TABLE.keys() == STATES.keys()
    taken = INVENTORY.takes["inventory-commands"] | INVENTORY.takes["order-events"]
    assert {type(message) for message in MESSAGES.values()} == taken
    assert INVENTORY.takes["order-events"] == {OrderCompleted}


@pytest.mark.parametrize(("state", "message", "expected"), CELLS, ids=[f"{cell[0]}: {cell[1]}" for cell in CELLS])
def test_every_message_has_one_outcome_in_every_state(state: str, message: str, expected: str) -> None:
    assert outcome_of(state, MESSAGES[message]) == expected


def test_what_changes_the_state_is_in_the_audit_trail_and_nothing_else_is() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        before, stock = STATES[state]
        decision = decide(before, MESSAGES[message], stock)
        assert bool(decision.transitions) == (decision.state != before) == (decision.outcome == "applied")
        for move in decision.transitions:
            assert decision.state is not None
            assert (move.before, move.after) == (before.status if before else "", decision.state.status)


def test_a_decision_replayed_from_its_recorded_input_is_the_same_to_the_byte() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        before, stock = STATES[state]
        recorded = INVENTORY.aggregate.decode(INVENTORY.aggregate.encode(before)) if before else None
        assert INVENTORY.shared is not None
        rows = INVENTORY.shared.rows
        recorded_stock = {key: rows.decode(rows.encode(level)) for key, level in sorted(stock.items(), reverse=True)}
        told = MESSAGES[message]
        first = msgspec.json.encode(decide(before, told, stock))
        assert msgspec.json.encode(decide(recorded, codec.decode(codec.encode(told)), recorded_stock)) == first


def test_every_reply_is_the_orders_own_and_names_what_caused_it() -> None:
    for state, message, expected in CELLS:
        if expected == DEAD:
            continue
        before, stock = STATES[state]
        for reply in decide(before, MESSAGES[message], stock).messages:
            assert (reply.order_id, reply.metadata.source, reply.metadata.causation_id) == (ORDER, "inventory", "m")
            assert reply.event_id == derive("m", reply.event_type)
            assert codec.decode(codec.encode(reply)) == reply


def test_what_is_reserved_is_no_longer_available() -> None:
    decision = decide(None, request("a"))
    (reply,) = decision.messages
    assert isinstance(reply, InventoryReserved)
    assert (reply.items, reply.reserved_at, reply.expires_at, reply.request_id) == (TWO_CUPS, NOON, EXPIRY, "res-1")
    assert reply.reservation_id == derive(ORDER, "reservation")
    level = decision.shared["cup"]
    assert (level.available, level.reserved, level.consumed, level.version) == (3, 2, 0, 2)


def test_it_is_all_or_nothing_and_the_failed_items_say_what_was_short() -> None:
    wanted = (
        Item(product_id="cup", quantity=1),
        Item(product_id="jug", quantity=2),
        Item(product_id="unicorn", quantity=1),
    )
    decision = decide(None, request("a", wanted))
    (reply,) = decision.messages
    assert isinstance(reply, InventoryFailed)
    assert reply.failed_items == (
        ShortItem(product_id="jug", requested_quantity=2, available_quantity=1),
        ShortItem(product_id="unicorn", requested_quantity=1, available_quantity=0),
    )
    assert (reply.failure_reason, decision.shared, decision.tasks) == ("insufficient stock", {}, ())


def test_the_same_product_named_twice_is_wanted_twice() -> None:
    thrice = (*TWO_CUPS, Item(product_id="jug", quantity=1), Item(product_id="cup", quantity=1))
    decision = decide(None, request("a", thrice))
    assert decision.shared["cup"].reserved == 3
    (reply,) = decision.messages
    assert isinstance(reply, InventoryReserved)
    assert reply.items == (Item(product_id="cup", quantity=3), Item(product_id="jug", quantity=1))
    assert decide(decision.state, request("b", tuple(reversed(thrice)))).outcome == "repeated"


def test_the_same_product_named_twice_is_short_when_the_sum_is() -> None:
    (reply,) = decide(None, request("a", (Item(product_id="cup", quantity=3),) * 2)).messages
    assert isinstance(reply, InventoryFailed)
    assert reply.failed_items == (ShortItem(product_id="cup", requested_quantity=6, available_quantity=5),)


def test_more_than_a_message_can_say_is_short_all_the_same() -> None:
    (reply,) = decide(None, request("a", (Item(product_id="cup", quantity=2**31 - 1),) * 2)).messages
    assert codec.decode(codec.encode(reply)) == reply
    assert isinstance(reply, InventoryFailed)


def test_a_request_for_nothing_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        decide(None, request("a", ()))
    assert refusal.value.field == "items"


def test_a_reservation_that_would_never_end_is_refused() -> None:
    with pytest.raises(Refused, match="too late"):
        decide(None, msgspec.structs.replace(request("a"), requested_at=datetime.max.replace(tzinfo=UTC)))


@pytest.mark.parametrize("state", ["reserved", "consumed"])
def test_an_ask_repeated_is_answered_with_the_first_answers_content_and_its_own_id(state: str) -> None:
    (first,) = decide(None, request("a")).messages
    (again,) = decide(STATES[state][0], request("b", attempt=2)).messages
    assert again.event_id != first.event_id
    assert msgspec.structs.replace(again, event_id=first.event_id, metadata=first.metadata) == first


def test_a_failure_repeated_is_the_first_failure_even_if_stock_has_come_since() -> None:
    (first,) = decide(None, request("a", NINE_CUPS)).messages
    failed, _ = STATES["failed"]
    plenty = {"cup": opened("cup", "Cup", Decimal("7.50"), 500, NOON)}
    (again,) = INVENTORY.decide(failed, plenty, request("b", NINE_CUPS)).messages
    assert msgspec.structs.replace(again, event_id=first.event_id, metadata=first.metadata) == first


def test_what_is_released_is_available_again() -> None:
    state, stock = STATES["reserved"]
    decision = decide(state, release("b", reservation_id=RESERVATION_ID), stock)
    (reply,) = decision.messages
    assert isinstance(reply, InventoryReleased)
    assert (reply.items, reply.request_id, reply.reservation_id) == (TWO_CUPS, "undo-1", RESERVATION_ID)
    level = decision.shared["cup"]
    assert (level.available, level.reserved, level.version) == (5, 0, 3)


@pytest.mark.parametrize("state", ["nothing known", "failed", "refused"])
def test_where_nothing_was_held_nothing_is_released(state: str) -> None:
    (reply,) = decide(STATES[state][0], release("m")).messages
    assert isinstance(reply, InventoryReleased)
    assert reply.items == ()


def test_a_request_after_its_compensation_is_refused_with_the_reason() -> None:
    decision = decide(STATES["refused"][0], request("m"))
    (reply,) = decision.messages
    assert isinstance(reply, InventoryFailed)
    assert "compensated before" in reply.failure_reason
    assert not decision.shared


def test_what_has_left_is_never_given_back() -> None:
    state, stock = STATES["consumed"]
    with pytest.raises(Refused, match="has left"):
        decide(state, release("m"), stock)
    assert (stock["cup"].available, stock["cup"].reserved, stock["cup"].consumed) == (3, 0, 2)


def test_the_release_of_another_reservation_is_refused() -> None:
    state, stock = STATES["reserved"]
    with pytest.raises(Refused, match="no reservation elsewhere"):
        decide(state, release("m", reservation_id="elsewhere"), stock)


@pytest.mark.parametrize("message", [release("m"), completed("m")], ids=["release", "consume"])
def test_stock_that_does_not_hold_what_a_reservation_says_is_never_taken_below_nothing(message: Message) -> None:
    state, _ = STATES["reserved"]
    with pytest.raises(Refused, match="no stock of cup"):
        decide(state, message, {})
    with pytest.raises(Refused, match="reserved of cup would be -2"):
        decide(state, message, STOCK)


def timer_of(decision: Decision[Reservation]) -> tuple[Timer, ReservationDue]:
    (timer,) = decision.tasks
    assert isinstance(timer, Timer)
    assert isinstance(timer.message, ReservationDue)
    return timer, timer.message


def test_a_reservation_is_reviewed_after_its_time() -> None:
    timer, message = timer_of(decide(None, request("a")))
    assert (timer.task_id, timer.after) == (review_task_of(RESERVATION_ID, 1), 900.0)
    assert (message.review, message.due_at, message.order_id) == (1, EXPIRY, ORDER)


def test_how_long_a_reservation_holds_is_the_resources_to_say() -> None:
    timer, message = timer_of(inventory_context(2.5).decide(None, STOCK, request("a")))
    assert (timer.after, message.due_at) == (2.5, NOON + timedelta(seconds=2.5))


def test_at_its_time_the_order_is_asked_and_nothing_is_released() -> None:
    state, stock = STATES["reserved"]
    decision = decide(state, due("b"), stock)
    (asking,) = decision.messages
    assert isinstance(asking, ReservationExpiring)
    assert (asking.reservation_id, asking.expires_at) == (RESERVATION_ID, EXPIRY)
    assert decision.state is not None
    assert (decision.state.status, decision.shared) == ("reserved", {})


def test_without_an_answer_the_order_is_asked_again_once_the_backlog_is_read() -> None:
    state, stock = STATES["reserved"]
    decision = decide(state, due("b"), stock)
    timer, message = timer_of(decision)
    assert (timer.after, timer.request, timer.replies) == (
        900.0,
        decision.messages[0].event_id,
        ("inventory-commands",),
    )
    again = decide(decision.state, message, stock)
    assert [reply.event_type for reply in again.messages] == ["ReservationExpiring"]
    assert again.messages[0].event_id != decision.messages[0].event_id


def test_a_confirmation_moves_the_expiry_and_the_review_with_it() -> None:
    state, stock = STATES["reviewed"]
    decision = decide(state, confirm("c", KEPT), stock)
    timer, message = timer_of(decision)
    assert decision.state is not None
    assert decision.state.expires_at == KEPT
    assert (timer.after, message.review, message.due_at) == (900.0, 3, KEPT)
    assert decision.ended == (review_task_of(RESERVATION_ID, 2),)
    assert decide(decision.state, due("d", review=2), stock).outcome == "late"


@pytest.mark.parametrize("message", [release("m"), completed("m")], ids=["released", "consumed"])
def test_what_is_held_no_more_is_reviewed_no_more(message: Message) -> None:
    state, stock = STATES["reviewed"]
    assert decide(state, message, stock).ended == (review_task_of(RESERVATION_ID, 2),)


def test_what_a_completed_order_had_reserved_is_consumed() -> None:
    state, stock = STATES["reserved"]
    level = decide(state, completed("b"), stock).shared["cup"]
    assert (level.available, level.reserved, level.consumed) == (3, 0, 2)


def test_what_is_not_addressed_to_inventory_means_nothing_here() -> None:
    state, stock = STATES["reserved"]
    cancelled = OrderCancelled(event_id="a", order_id=ORDER, cancellation_reason="declined", cancelled_at=NOON)
    assert decide(state, cancelled, stock) == Decision(state=state, outcome="ignored")


def test_a_reservation_lives_while_it_holds_stock() -> None:
    assert {name for name, (state, _) in STATES.items() if state and is_live(state)} == {"reserved", "reviewed"}


def test_each_version_of_a_stock_level_is_announced_once() -> None:
    assert INVENTORY.shared is not None
    assert INVENTORY.shared.announce is not None
    level = decide(None, request("a")).shared["cup"]
    told = INVENTORY.shared.announce("cup", level, request("a"))
    assert isinstance(told, ProductChanged)
    assert (told.event_id, told.version) == (derive("cup", "changed", "2"), 2)
    assert (told.key, told.name, told.price, told.available) == ("cup", "Cup", Decimal("7.50"), 3)
    assert (told.changed_at, told.metadata.source, told.metadata.tenant) == (NOON, "inventory", "acme")
    assert codec.decode(codec.encode(told)) == told
