"""What the order context decides: every flow's way to each of its ends, and what may be asked of an order meanwhile."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderflow.contexts.order.decide import decide
from orderflow.contexts.order.state import Order, is_live
from orderflow.contracts import commands, events
from orderflow.contracts.decision import Decision, Keep, Refused, Timer
from orderflow.contracts.envelope import Message, Metadata
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, FulfillmentDetails, Item, Recipient, RequestedItem
from orderflow.contracts.outcomes import StepDeadline, WindowDue
from orderflow.contracts.topics import FULFILLMENT_EVENTS, INVENTORY_EVENTS, PAYMENT_EVENTS
from orderflow.saga.flow import FlowBook

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
BOOK = FlowBook()
ITEMS = (
    RequestedItem(product_id="sku-1", quantity=2, price=Decimal("10.00")),
    RequestedItem(product_id="sku-2", quantity=1, price=Decimal("0.50")),
)
TOTAL = Decimal("20.50")


def create(flow: str | None = None, **fields: Any) -> commands.CreateOrder:
    known: dict[str, Any] = {
        "event_id": "create",
        "order_id": ORDER,
        "metadata": Metadata(source="api", correlation_id="story-1", tenant="acme"),
        "customer_id": "customer-1",
        "customer": Customer(customer_id="customer-1", name="Ada"),
        "items": ITEMS,
        "requested_at": NOON,
        "flow": flow,
        "tenant": "acme",
        "recipient": Recipient(customer_id="customer-1", email="ada@example.org", phone="+1"),
        "plan": msgspec.Raw(msgspec.json.encode(BOOK.choose(flow, "acme"))),
    }
    return commands.CreateOrder(**known | fields)


def set_status(status: str, **fields: Any) -> commands.ChangeOrderStatus:
    return commands.ChangeOrderStatus(
        event_id=f"set-{status}", order_id=ORDER, status=status, requested_at=at(90), **fields
    )


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


SUCCESS: dict[str, Message] = {
    "payment": events.PaymentSucceeded(
        event_id="paid", order_id=ORDER, payment_id="p", amount=TOTAL, processed_at=at(1)
    ),
    "inventory": events.InventoryReserved(
        event_id="reserved", order_id=ORDER, reservation_id="v", items=(), reserved_at=at(2)
    ),
    "fulfillment": events.OrderShipped(
        event_id="shipped", order_id=ORDER, shipment_id="s", carrier="DHL", tracking_number="T-1", shipped_at=at(3)
    ),
}
FAILURE: dict[str, Message] = {
    "payment": events.PaymentFailed(
        event_id="declined",
        order_id=ORDER,
        payment_id="p",
        amount=TOTAL,
        failure_reason="card declined",
        failed_at=at(4),
    ),
    "inventory": events.InventoryFailed(
        event_id="short", order_id=ORDER, failure_reason="out of stock", failed_items=(), failed_at=at(4)
    ),
    "fulfillment": events.OrderShipmentFailed(
        event_id="unshipped", order_id=ORDER, shipment_id="s", error_message="no such street", failed_at=at(4)
    ),
}
UNDONE: dict[str, Message] = {
    "payment": events.PaymentRefunded(
        event_id="refunded", order_id=ORDER, refund_id="r", payment_id="p", amount=TOTAL, refunded_at=at(5)
    ),
    "inventory": events.InventoryReleased(
        event_id="released", order_id=ORDER, items=(Item(product_id="sku-1", quantity=2),), released_at=at(6)
    ),
    "fulfillment": events.ShipmentCancelled(event_id="called-off", order_id=ORDER, cancelled_at=at(7)),
}
REQUEST = {
    "payment": "OrderPaymentRequested",
    "inventory": "OrderInventoryRequested",
    "fulfillment": "OrderFulfillmentRequested",
}
COMPENSATION = {"payment": "RefundPayment", "inventory": "ReleaseInventory", "fulfillment": "CancelShipment"}
EXPIRING = events.ReservationExpiring(event_id="expiring", order_id=ORDER, reservation_id="v", expires_at=at(60))


def decided(*messages: Message) -> Decision[Order]:
    """Return the last decision of an order that was given ``messages``."""
    state: Order | None = None
    for message in messages[:-1]:
        state = decide(state, {}, message).state
    return decide(state, {}, messages[-1])


def order_after(*messages: Message) -> Order:
    state = decided(*messages).state
    assert state is not None
    return state


def sent(decision: Decision[Order]) -> list[str]:
    return [message.event_type for message in decision.messages if not isinstance(message, commands.SendNotification)]


def told(decision: Decision[Order]) -> list[str]:
    return [message.template for message in decision.messages if isinstance(message, commands.SendNotification)]


def only(kind: type[Message], decision: Decision[Order]) -> Any:
    (found,) = [message for message in decision.messages if isinstance(message, kind)]
    return found


FLOWS = {
    "order-to-delivery": (["payment", "inventory", "fulfillment"], ["Pending", "Paid", "Reserved"], "Completed"),
    "payment-first": (["payment", "inventory"], ["Pending", "Paid"], "Completed"),
    "reserve-first": (["inventory", "payment"], ["CREATED", "RESERVED"], "FULFILLED"),
    "ship-only": (["fulfillment"], ["Created"], "Shipped"),
}
BAD_END = {
    "order-to-delivery": "Cancelled",
    "payment-first": "Cancelled",
    "reserve-first": "CANCELLED",
    "ship-only": "Failed",
}


@pytest.mark.parametrize("flow", FLOWS)
def test_an_order_that_meets_no_failure_asks_each_step_in_turn_and_completes(flow: str) -> None:
    steps, words, end = FLOWS[flow]
    replies: list[Message] = [SUCCESS[step] for step in steps]
    given: list[Message] = [create(flow), *replies]
    for index, step in enumerate(steps):
        decision = decided(*given[: index + 1])
        assert sent(decision)[-1] == REQUEST[step]
        assert decision.state is not None
        assert decision.state.word == words[index]
        assert is_live(decision.state)
    last = decided(*given)
    assert sent(last) == ["OrderCompleted"]
    assert last.state is not None
    assert last.state.word == end
    assert not is_live(last.state)


@pytest.mark.parametrize(("flow", "failing"), [(flow, step) for flow, way in FLOWS.items() for step in way[0]])
def test_a_step_that_fails_has_the_steps_before_it_undone_in_reverse_and_the_order_ends(
    flow: str, failing: str
) -> None:
    steps = FLOWS[flow][0]
    before = steps[: steps.index(failing)]
    given: list[Message] = [create(flow), *(SUCCESS[step] for step in before), FAILURE[failing]]
    for step in reversed(before):
        decision = decided(*given)
        assert sent(decision) == [COMPENSATION[step]]
        given.append(UNDONE[step])
    last = decided(*given)
    assert sent(last) == ["OrderCancelled"]
    cancelled = only(events.OrderCancelled, last)
    assert cancelled.final_status == BAD_END[flow]
    assert cancelled.cancellation_reason.startswith(f"{failing} failed: ")
    assert last.state is not None
    assert last.state.word == BAD_END[flow]
    assert not is_live(last.state)


def test_an_accepted_order_is_announced_with_what_the_other_documents_ask_of_it() -> None:
    decision = decided(create("payment-first"))
    created = only(events.OrderCreated, decision)
    assert created.customer == Customer(customer_id="customer-1", name="Ada")
    assert created.total_amount == TOTAL
    assert created.flow == "payment-first"
    assert [item.price for item in created.items] == [Decimal("10.00"), Decimal("0.50")]
    assert created.metadata == Metadata(source="order", correlation_id="story-1", causation_id="create", tenant="acme")
    assert sent(decision) == ["OrderCreated", "OrderPaymentRequested"]


def test_each_request_carries_what_its_participant_needs() -> None:
    paying = only(commands.OrderPaymentRequested, decided(create()))
    assert (paying.customer_id, paying.amount, paying.attempt) == ("customer-1", TOTAL, 1)
    reserving = only(commands.OrderInventoryRequested, decided(create(), SUCCESS["payment"]))
    pieces = (Item(product_id="sku-1", quantity=2), Item(product_id="sku-2", quantity=1))
    assert reserving.items == pieces
    shipping = only(commands.OrderFulfillmentRequested, decided(create(), SUCCESS["payment"], SUCCESS["inventory"]))
    assert shipping.items == pieces
    assert shipping.customer.name == "Ada"
    assert shipping.metadata.correlation_id == "story-1"
    assert shipping.metadata.tenant == "acme"


@pytest.mark.parametrize(
    ("given", "step", "topic"),
    [
        ([], "payment", PAYMENT_EVENTS),
        (["payment"], "inventory", INVENTORY_EVENTS),
        (["payment", "inventory"], "fulfillment", FULFILLMENT_EVENTS),
    ],
)
def test_each_request_has_a_deadline_that_waits_for_its_publication_and_the_replies_before_it(
    given: list[str], step: str, topic: str
) -> None:
    decision = decided(create(), *(SUCCESS[done] for done in given))
    (timer,) = decision.tasks
    assert isinstance(timer, Timer)
    assert isinstance(timer.message, StepDeadline)
    assert timer.after == (30 if step == "fulfillment" else 10)
    assert timer.replies == (topic,)
    asking = next(message for message in decision.messages if message.event_type == REQUEST[step])
    assert timer.request == asking.event_id
    due = timer.message
    assert (due.step, due.attempt, due.compensating) == (step, 1, False)
    assert due.due_at == asking.occurred_at + timedelta(seconds=timer.after)


def deadline(decision: Decision[Order]) -> StepDeadline:
    (timer,) = decision.tasks
    assert isinstance(timer, Timer)
    assert isinstance(timer.message, StepDeadline)
    return timer.message


def test_an_unanswered_request_is_asked_again_and_again_and_then_undone() -> None:
    given: list[Message] = [create()]
    for attempt in range(2, 6):
        given.append(deadline(decided(*given)))
        again = only(commands.OrderPaymentRequested, decided(*given))
        assert again.attempt == attempt
        assert again.event_id == derive(again.request_id, str(attempt))
    given.append(deadline(decided(*given)))
    gave_up = decided(*given)
    assert sent(gave_up) == ["RefundPayment"]
    assert only(commands.RefundPayment, gave_up).payment_id is None
    assert gave_up.state is not None
    assert gave_up.state.saga.reason == "payment did not answer, asked 5 times"


def test_a_deadline_of_a_past_step_or_attempt_decides_nothing() -> None:
    first = deadline(decided(create()))
    for given in ([create(), first], [create(), SUCCESS["payment"]], [create(), FAILURE["payment"]]):
        decision = decided(*given, msgspec.structs.replace(first, event_id="again"))
        assert decision == Decision(state=order_after(*given), outcome="late")


def test_a_reply_ends_its_requests_deadline_in_the_same_decision() -> None:
    (timer,) = decided(create()).tasks
    assert decided(create(), SUCCESS["payment"]).ended == (timer.task_id,)
    assert decided(create(), FAILURE["payment"]).ended == (timer.task_id,)


def test_the_audit_trail_tells_every_step_in_canonical_words() -> None:
    given = [create("ship-only")]
    assert [(line.before, line.after) for line in decided(*given).transitions] == [("", "PENDING")]
    last = decided(create(), SUCCESS["payment"], SUCCESS["inventory"], SUCCESS["fulfillment"]).transitions
    assert [(line.before, line.after, line.step, line.attempt) for line in last] == [
        ("RESERVED", "SHIPPED", "fulfillment", 1),
        ("SHIPPED", "COMPLETED", "", 0),
    ]
    failed = decided(create("ship-only"), FAILURE["fulfillment"]).transitions
    assert [(line.before, line.after, line.detail) for line in failed] == [
        ("PENDING", "FAILED", "fulfillment failed: no such street")
    ]


def test_what_is_known_of_the_shipment_stands_in_the_order() -> None:
    shipped = order_after(create("ship-only"), SUCCESS["fulfillment"])
    assert shipped.fulfillment == FulfillmentDetails(
        carrier="DHL", tracking_number="T-1", shipped_at="2025-03-01T12:00:03Z"
    )
    failed = order_after(create("ship-only"), FAILURE["fulfillment"])
    assert failed.fulfillment.error_message == "no such street"


def test_the_customer_is_told_of_each_outcome_once_where_there_is_an_address() -> None:
    completing = decided(create(), SUCCESS["payment"], SUCCESS["inventory"], SUCCESS["fulfillment"])
    assert told(completing) == ["order-shipped", "order-completed"]
    first = next(message for message in completing.messages if isinstance(message, commands.SendNotification))
    assert first.notification_id == derive(ORDER, "order-shipped")
    assert [(channel.channel, channel.priority) for channel in first.channels] == [("email", 0), ("sms", 2)]
    assert first.parameters == {
        "orderId": ORDER,
        "total": "20.50",
        "reason": "",
        "carrier": "DHL",
        "trackingNumber": "T-1",
    }
    declined = decided(create(), FAILURE["payment"])
    assert told(declined) == ["payment-failed", "order-cancelled"]


def test_a_customer_without_any_address_is_left_to_the_mail_channel() -> None:
    notification = decided(create(recipient=None), FAILURE["payment"]).messages[-1]
    assert isinstance(notification, commands.SendNotification)
    assert notification.recipient == Recipient(customer_id="customer-1")
    assert [channel.channel for channel in notification.channels] == ["email"]


# What repeats, or comes too late


@pytest.mark.parametrize("reply", [SUCCESS["payment"], FAILURE["payment"]])
def test_a_reply_that_comes_again_changes_nothing(reply: Message) -> None:
    state = order_after(create(), reply)
    again = decide(state, {}, msgspec.structs.replace(reply, event_id="again"))
    assert again.outcome == "repeated"
    assert again == Decision(state=state, outcome="repeated")


def test_the_same_order_again_is_repeated_and_another_one_under_its_id_is_refused() -> None:
    state = order_after(create())
    dearer = tuple(msgspec.structs.replace(item, price=Decimal("99.00")) for item in ITEMS)
    assert decide(state, {}, create(event_id="again", items=dearer)) == Decision(state=state, outcome="repeated")
    for other in ({"items": ITEMS[:1]}, {"tenant": "other"}, {"flow": "ship-only"}, {"customer_id": "customer-2"}):
        with pytest.raises(Refused, match="another order with this id") as refused:
            decide(state, {}, create(event_id="again", **other))
        assert refused.value.conflict


def test_goods_that_left_after_their_order_was_cancelled_are_recorded() -> None:
    cancelled = order_after(create("ship-only"), FAILURE["fulfillment"])
    decision = decide(cancelled, {}, SUCCESS["fulfillment"])
    assert decision.outcome == "late"
    assert decision.state == cancelled
    assert decision.messages == ()
    assert [line.detail for line in decision.transitions] == ["OrderShipped s"]


def test_a_message_about_an_order_that_is_not_there_means_nothing() -> None:
    for message in (*SUCCESS.values(), *FAILURE.values(), *UNDONE.values()):
        assert decide(None, {}, message) == Decision(state=None, outcome="ignored")


def test_a_message_of_no_order_is_refused_and_one_of_another_kind_ignored() -> None:
    with pytest.raises(Refused, match="about an order"):
        decide(None, {}, msgspec.structs.replace(EXPIRING, order_id=""))
    window = WindowDue(event_id="w", order_id=ORDER, window_start="w", window_seconds=60, due_at=NOON)
    assert decide(None, {}, window).outcome == "ignored"
    step = StepDeadline(event_id="d", order_id=ORDER, step="gift-wrap", attempt=1, due_at=NOON)
    assert decide(order_after(create()), {}, step).outcome == "ignored"


# Reservations that come to their time


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ([], "ConfirmReservation"),
        ([SUCCESS["inventory"]], "ConfirmReservation"),
        ([SUCCESS["inventory"], SUCCESS["fulfillment"]], "ConfirmReservation"),
        ([FAILURE["inventory"]], "ReleaseInventory"),
        ([SUCCESS["inventory"], FAILURE["fulfillment"]], "ReleaseInventory"),
        ([SUCCESS["inventory"], FAILURE["fulfillment"], UNDONE["inventory"]], "ReleaseInventory"),
        (
            [SUCCESS["inventory"], FAILURE["fulfillment"], UNDONE["inventory"], UNDONE["payment"]],
            "ReleaseInventory",
        ),
    ],
)
def test_an_expiring_reservation_is_kept_while_it_is_needed_and_else_released(
    given: list[Message], answer: str
) -> None:
    decision = decided(create(), SUCCESS["payment"], *given, EXPIRING)
    assert sent(decision) == [answer]
    assert decision.state == order_after(create(), SUCCESS["payment"], *given)


def test_a_reservation_is_kept_while_a_cancelled_shipment_may_still_have_left() -> None:
    given: list[Message] = [create(), SUCCESS["payment"], SUCCESS["inventory"]]
    for _ in range(5):
        given.append(deadline(decided(*given)))
    assert sent(decided(*given)) == ["CancelShipment"]
    confirm = only(commands.ConfirmReservation, decided(*given, EXPIRING))
    assert confirm.until == at(60) + timedelta(seconds=900)
    assert sent(decided(*given, EXPIRING, SUCCESS["fulfillment"])) == ["OrderCompleted"]


def test_a_release_under_way_is_repeated_under_its_own_request_id() -> None:
    given = [create(), SUCCESS["payment"], SUCCESS["inventory"], FAILURE["fulfillment"]]
    asked = only(commands.ReleaseInventory, decided(*given))
    again = only(commands.ReleaseInventory, decided(*given, EXPIRING))
    assert again.request_id == asked.request_id
    assert again.event_id != asked.event_id


def test_a_reservation_of_no_order_is_released() -> None:
    decision = decide(None, {}, EXPIRING)
    assert decision.state is None
    released = only(commands.ReleaseInventory, decision)
    assert (released.order_id, released.reservation_id) == (ORDER, "v")


def test_a_reservation_at_the_end_of_time_is_kept_until_then() -> None:
    never = msgspec.structs.replace(EXPIRING, expires_at=datetime.max.replace(tzinfo=UTC))
    assert only(commands.ConfirmReservation, decided(create(), never)).until.year == 9999


# A status set from outside


@pytest.mark.parametrize(
    ("flow", "given", "undone"),
    [
        ("order-to-delivery", [], "RefundPayment"),
        ("order-to-delivery", ["payment"], "ReleaseInventory"),
        ("payment-first", [], "RefundPayment"),
        ("payment-first", ["payment"], "ReleaseInventory"),
        ("reserve-first", ["inventory"], "RefundPayment"),
    ],
)
def test_an_order_can_be_cancelled_before_its_last_step(flow: str, given: list[str], undone: str) -> None:
    replies = [SUCCESS[step] for step in given]
    cancel = set_status("cancelled", reason="changed my mind")
    decision = decided(create(flow), *replies, cancel)
    assert sent(decision) == [undone]
    assert decision.state is not None
    assert decision.state.saga.reason == "changed my mind"
    again = decide(decision.state, {}, set_status("CANCELLED"))
    assert again.outcome == "repeated"
    assert again.messages == ()


@pytest.mark.parametrize(
    ("flow", "given"),
    [
        ("order-to-delivery", ["payment", "inventory"]),
        ("order-to-delivery", ["payment", "inventory", "fulfillment"]),
        ("payment-first", ["payment", "inventory"]),
        ("reserve-first", ["inventory", "payment"]),
    ],
)
def test_an_order_cannot_be_cancelled_once_it_ships_or_is_complete(flow: str, given: list[str]) -> None:
    with pytest.raises(Refused, match="cannot be set to Cancelled") as refused:
        decided(create(flow), *(SUCCESS[step] for step in given), set_status("Cancelled"))
    assert (refused.value.field, refused.value.conflict) == ("status", True)


def test_a_cancelled_order_undoes_what_was_under_way_first_and_keeps_what_has_crossed() -> None:
    given = [create(), SUCCESS["payment"], set_status("Cancelled")]
    assert sent(decided(*given)) == ["ReleaseInventory"]
    assert sent(decided(*given, SUCCESS["inventory"])) == []
    assert sent(decided(*given, SUCCESS["inventory"], UNDONE["inventory"])) == ["RefundPayment"]
    last = decided(*given, SUCCESS["inventory"], UNDONE["inventory"], UNDONE["payment"])
    assert sent(last) == ["OrderCancelled"]
    assert only(events.OrderCancelled, last).cancellation_reason == "cancelled on request"


@pytest.mark.parametrize("word", ["Paid", "Completed", "Pending", "compensating"])
def test_a_status_that_nobody_may_set_is_a_conflict(word: str) -> None:
    with pytest.raises(Refused) as refused:
        decided(create(), SUCCESS["payment"], set_status(word))
    assert refused.value.conflict


@pytest.mark.parametrize(("flow", "word"), [("order-to-delivery", "Lost"), ("ship-only", "Cancelled")])
def test_a_word_that_the_flow_has_not_is_refused_as_such(flow: str, word: str) -> None:
    with pytest.raises(Refused, match=f"{flow} has no status '{word}'") as refused:
        decided(create(flow), set_status(word))
    assert (refused.value.field, refused.value.conflict) == ("status", False)


def test_the_status_of_an_order_that_is_not_there_cannot_be_set() -> None:
    with pytest.raises(Refused, match="no such order"):
        decide(None, {}, set_status("Cancelled"))


def test_whoever_ships_reports_that_an_order_is_being_processed() -> None:
    decision = decided(create("ship-only"), set_status("Processing"))
    assert decision.state is not None
    assert decision.state.word == "Processing"
    assert decision.messages == ()
    assert is_live(decision.state)
    assert decide(decision.state, {}, set_status("processing")).outcome == "repeated"
    assert order_after(create("ship-only"), set_status("Processing"), SUCCESS["fulfillment"]).word == "Shipped"


def test_whoever_ships_reports_that_an_order_is_shipped_and_ours_is_called_off() -> None:
    details = FulfillmentDetails(carrier="UPS", tracking_number="U-1")
    decision = decided(create("ship-only"), set_status("Shipped", fulfillment=details))
    assert sent(decision) == ["CancelShipment", "OrderCompleted"]
    assert told(decision) == ["order-shipped", "order-completed"]
    order = decision.state
    assert order is not None
    assert order.word == "Shipped"
    assert order.fulfillment == FulfillmentDetails(
        carrier="UPS", tracking_number="U-1", shipped_at="2025-03-01T12:01:30Z"
    )
    late = decide(order, {}, SUCCESS["fulfillment"])
    assert late.state is not None
    assert late.state.fulfillment == order.fulfillment
    assert [line.detail for line in late.transitions] == ["OrderShipped s"]
    assert not is_live(late.state)
    assert decide(order, {}, set_status("Shipped")).outcome == "repeated"
    for word in ("Failed", "Processing"):
        with pytest.raises(Refused):
            decide(order, {}, set_status(word))


def test_whoever_ships_reports_that_an_order_has_failed_and_ours_is_called_off_first() -> None:
    details = FulfillmentDetails(error_message="Simulated carrier rejection")
    given = [create("ship-only"), set_status("Failed", fulfillment=details)]
    decision = decided(*given)
    assert sent(decision) == ["CancelShipment"]
    assert decision.state is not None
    assert decision.state.word == "Processing"
    assert decide(decision.state, {}, set_status("Failed")).outcome == "repeated"
    failed = decided(*given, UNDONE["fulfillment"])
    assert sent(failed) == ["OrderCancelled"]
    assert failed.state is not None
    assert failed.state.word == "Failed"
    assert failed.state.fulfillment.error_message == "Simulated carrier rejection"
    assert order_after(*given, SUCCESS["fulfillment"]).word == "Shipped"


# Orders that cannot be


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"items": ()}, "items", "1 to 100 items"),
        ({"items": ITEMS[:1] * 101}, "items", "1 to 100 items"),
        (
            {"items": (ITEMS[0], RequestedItem(product_id="sku-2", quantity=0, price=Decimal(1)))},
            "items[1].quantity",
            "at least 1",
        ),
        (
            {"items": (RequestedItem(product_id="sku-2", quantity=2**30, price=Decimal(0)),) * 2},
            "items[1].quantity",
            "at most 2147483647 pieces",
        ),
        ({"items": (RequestedItem(product_id="sku-9", quantity=1),)}, "items[0].productId", "no product 'sku-9'"),
        (
            {"items": (RequestedItem(product_id="sku-1", quantity=2, price=Decimal("5000000000.00")),)},
            "items",
            "at most 9999999999.99",
        ),
        ({"plan": msgspec.UNSET}, "flow", "not given a plan"),
        ({"plan": msgspec.Raw(b"[]")}, "flow", "not given a plan"),
        ({"customer_id": ""}, "customerId", "has a customer"),
    ],
)
def test_an_order_that_cannot_be_is_refused_by_the_field_that_is_wrong(
    wrong: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        decide(None, {}, create(**wrong))
    assert (refused.value.field, refused.value.conflict) == (field, False)


def test_the_dearest_order_there_can_be_is_accepted() -> None:
    dearest = RequestedItem(product_id="sku-1", quantity=1, price=Decimal("9999999999.99"))
    assert order_after(create(items=(dearest,))).total == Decimal("9999999999.99")


# The catalogue


def test_the_newest_word_on_a_product_is_kept() -> None:
    changed = events.ProductChanged(
        event_id="e", product_id="sku-1", name="Lamp", price=Decimal("9.90"), available=3, version=7, changed_at=NOON
    )
    decision = decide(None, {}, changed)
    assert decision.state is None
    (kept,) = decision.writes
    assert isinstance(kept, Keep)
    assert (kept.table, kept.key, kept.newest_by) == ("catalogue", {"product_id": "sku-1"}, "version")
    assert kept.values["price"] == Decimal("9.90")


def test_an_order_is_never_updated_before_it_was() -> None:
    slow_clock = msgspec.structs.replace(SUCCESS["payment"], processed_at=at(-60))
    assert order_after(create(), slow_clock).updated_at == NOON
    assert order_after(create(), SUCCESS["payment"]).updated_at == at(1)
