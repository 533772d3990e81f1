"""What analytics decides, for every state and every message it takes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.shuffling import shuffled
from orderflow.contexts.analytics import ANALYTICS, Journey
from orderflow.contexts.analytics.facts import FACTS, figures_of
from orderflow.contexts.analytics.figures import Figures
from orderflow.contexts.analytics.state import Window, is_live, window_of, window_task_of
from orderflow.contracts.decision import Append, Decision, Refused, Timer
from orderflow.contracts.envelope import Message, Metadata
from orderflow.contracts.events import (
    AnalyticsProcessed,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderShipmentFailed,
    OrderShipped,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
)
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, Item, PricedItem
from orderflow.contracts.outcomes import WindowDue

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = "2025-03-01T12:00:00Z"
ORDER = "order-1"
PRICE = Decimal("49.90")


def created(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return OrderCreated(
        event_id=event_id,
        order_id=order_id,
        metadata=Metadata(source="order", correlation_id="story-1", tenant="acme"),
        customer_id="customer-1",
        customer=Customer(customer_id="customer-1", name="Ada Lovelace"),
        total_amount=PRICE,
        items=(PricedItem(product_id="mug", quantity=2, price=Decimal("24.95")),),
        created_at=at,
        flow="payment-first",
    )


def completed(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return OrderCompleted(event_id=event_id, order_id=order_id, completed_at=at)


def cancelled(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return OrderCancelled(
        event_id=event_id,
        order_id=order_id,
        cancellation_reason="Ada has moved",
        cancelled_at=at,
        final_status="Failed",
    )


def captured(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return PaymentSucceeded(event_id=event_id, order_id=order_id, payment_id="p", amount=PRICE, processed_at=at)


def declined(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return PaymentFailed(
        event_id=event_id, order_id=order_id, payment_id="p", amount=PRICE, failure_reason="declined", failed_at=at
    )


def refunded(event_id: str, at: datetime = NOON, order_id: str = ORDER, amount: Decimal = PRICE) -> Message:
    return PaymentRefunded(
        event_id=event_id, order_id=order_id, refund_id="r", payment_id="p", amount=amount, refunded_at=at
    )


def reserved(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    items = (Item(product_id="mug", quantity=2),)
    return InventoryReserved(event_id=event_id, order_id=order_id, reservation_id="i", items=items, reserved_at=at)


def short(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return InventoryFailed(
        event_id=event_id, order_id=order_id, failure_reason="too little stock", failed_items=(), failed_at=at
    )


def shipped(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return OrderShipped(
        event_id=event_id,
        order_id=order_id,
        shipment_id="s",
        carrier="Swift",
        tracking_number="T-1",
        shipped_at=at,
    )


def unshipped(event_id: str, at: datetime = NOON, order_id: str = ORDER) -> Message:
    return OrderShipmentFailed(
        event_id=event_id, order_id=order_id, shipment_id="s", error_message="too heavy", failed_at=at
    )


EVENTS = (created, completed, cancelled, captured, declined, refunded, reserved, short, shipped, unshipped)


def due(event_id: str = "m", start: str = MINUTE) -> WindowDue:
    return WindowDue(event_id=event_id, window_start=start, window_seconds=60, due_at=NOON + timedelta(seconds=65))


class Analytics:
    """What the runtime keeps for analytics: every decision is applied to it."""

    def __init__(self) -> None:
        self.journeys: dict[str, Journey] = {}
        self.windows: dict[str, Window] = {}
        self.timers: list[Timer] = []
        self.reports: list[AnalyticsProcessed] = []
        self.kept: list[Append] = []

    def take(self, message: Message) -> Decision[Journey]:
        shared = ANALYTICS.shared
        assert shared is not None
        key = ANALYTICS.key_of(message)
        journey = self.journeys.get(key) if key is not None else None
        needed = {start: self.windows[start] for start in shared.needs(journey, message) if start in self.windows}
        decision = ANALYTICS.decide(journey, needed, message)
        if decision.state is not None:
            assert key is not None
            self.journeys[key] = decision.state
        self.windows.update(decision.shared)
        self.timers += [task for task in decision.tasks if isinstance(task, Timer)]
        self.reports += [report for report in decision.messages if isinstance(report, AnalyticsProcessed)]
        self.kept += [row for row in decision.writes if isinstance(row, Append)]
        return decision

    @property
    def totals(self) -> Figures:
        return sum((window.figures for window in self.windows.values()), Figures())


def told(*messages: Message) -> Analytics:
    analytics = Analytics()
    for message in messages:
        analytics.take(message)
    return analytics


JOURNEYS: dict[str, Journey | None] = {
    "nothing known": None,
    "created": told(created("a")).journeys[ORDER],
    "paid, creation not seen": told(captured("a")).journeys[ORDER],
    "completed": told(created("a"), captured("b"), completed("c")).journeys[ORDER],
    "cancelled, creation not seen": told(cancelled("a")).journeys[ORDER],
}
WINDOWS: dict[str, dict[str, Window]] = {
    "no window": {},
    "open": told(created("a")).windows,
    "closed": told(created("a"), due()).windows,
    "opened again": told(created("a"), due(), captured("b")).windows,
}
MESSAGES: dict[str, Message] = {
    **{event.__name__: event("m") for event in EVENTS},
    "due": due(),
    "nothing refunded": refunded("m", amount=Decimal("0.00")),
    "means nothing here": InventoryReleased(event_id="m", order_id=ORDER, items=(), released_at=NOON),
}


def test_every_message_it_takes_is_tried() -> None:
    taken = frozenset[type[Message]]().union(*ANALYTICS.takes.values())
    assert taken == FACTS | {WindowDue}
    assert taken <= {type(message) for message in MESSAGES.values()}


@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS)
def test_every_state_has_a_decision_for_every_message_and_always_the_same(journey: Journey | None) -> None:
    for windows, message in product(WINDOWS.values(), MESSAGES.values()):
        before = msgspec.json.encode((journey, windows))
        first, second = (ANALYTICS.decide(journey, windows, message) for _ in range(2))
        assert msgspec.json.encode(first, order="sorted") == msgspec.json.encode(second, order="sorted")
        assert msgspec.json.encode((journey, windows)) == before
        if first.state is not None:
            assert ANALYTICS.aggregate.decode(ANALYTICS.aggregate.encode(first.state)) == first.state
        if first.outcome != "applied":
            assert (first.shared, first.tasks, first.writes, first.messages) == ({}, (), (), ())


@pytest.mark.parametrize(
    ("event", "figures"),
    [
        (created, {"orders": 1}),
        (completed, {"completed": 1}),
        (cancelled, {"cancelled": 1}),
        (captured, {"payments": 1, "revenue": PRICE}),
        (declined, {"payment_failures": 1}),
        (refunded, {"refunds": 1, "refunded": PRICE}),
        (partial(refunded, amount=Decimal("0.00")), {}),
        (reserved, {"reservations": 1}),
        (short, {"inventory_failures": 1}),
        (shipped, {"shipments": 1}),
        (unshipped, {"shipment_failures": 1}),
    ],
)
def test_each_event_counts_for_what_it_is(event: partial[Message], figures: dict[str, int | Decimal]) -> None:
    window = told(event("a")).windows[MINUTE]
    counted = msgspec.structs.asdict(window.figures)
    assert {name: value for name, value in counted.items() if value != getattr(Figures(), name)} == figures


def test_an_event_counts_in_the_minute_of_its_own_time() -> None:
    analytics = told(created("a", NOON + timedelta(seconds=59.999)), captured("b", NOON + timedelta(seconds=60)))
    assert {start: window.figures.orders for start, window in analytics.windows.items()} == {
        MINUTE: 1,
        "2025-03-01T12:01:00Z": 0,
    }


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        (NOON, MINUTE),
        (NOON + timedelta(seconds=59, microseconds=999_999), MINUTE),
        (NOON - timedelta(microseconds=1), "2025-03-01T11:59:00Z"),
        (datetime.fromisoformat("2025-03-01T14:00:30+02:00"), MINUTE),
    ],
)
def test_a_window_is_named_after_the_start_of_its_minute(moment: datetime, start: str) -> None:
    assert window_of(moment) == start


def test_the_time_to_complete_runs_from_creation_to_completion() -> None:
    analytics = told(created("a"), completed("b", NOON + timedelta(seconds=1.25)))
    completion = analytics.totals.completion
    assert (completion.count, completion.total_ms, completion.max_ms) == (1, 1250, 1250)


def test_a_completion_whose_creation_is_unknown_has_no_time() -> None:
    totals = told(completed("b"), created("a")).totals
    assert (totals.completed, totals.completion.count) == (1, 0)


def test_clocks_that_differ_give_no_negative_time() -> None:
    assert told(created("a"), completed("b", NOON - timedelta(seconds=1))).totals.completion.total_ms == 0


def test_a_fact_that_is_told_again_counts_once() -> None:
    for event in EVENTS:
        analytics = told(event("a"), due())
        again = analytics.take(event("b"))
        assert (again.outcome, again.shared, again.writes, again.tasks) == ("repeated", {}, (), ())


def test_a_journey_is_live_until_the_order_ends() -> None:
    assert {name: is_live(journey) for name, journey in JOURNEYS.items() if journey is not None} == {
        "created": True,
        "paid, creation not seen": True,
        "completed": False,
        "cancelled, creation not seen": False,
    }


def test_an_event_is_kept_without_personal_data() -> None:
    analytics = told(created("a"), cancelled("b"), captured("c"))
    assert [row.values for row in analytics.kept] == [
        {
            "event_id": "a",
            "event_type": "OrderCreated",
            "order_id": ORDER,
            "at": NOON,
            "amount": PRICE,
            "attributes": '{"flow":"payment-first","pieces":2,"tenant":"acme"}',
        },
        {
            "event_id": "b",
            "event_type": "OrderCancelled",
            "order_id": ORDER,
            "at": NOON,
            "amount": None,
            "attributes": '{"finalStatus":"Failed","tenant":"default"}',
        },
        {
            "event_id": "c",
            "event_type": "PaymentSucceeded",
            "order_id": ORDER,
            "at": NOON,
            "amount": PRICE,
            "attributes": '{"tenant":"default"}',
        },
    ]
    assert b"Ada" not in msgspec.json.encode((analytics.kept, list(analytics.journeys.values())))


def test_an_event_that_names_no_order_is_refused() -> None:
    with pytest.raises(Refused, match="orderId"):
        ANALYTICS.decide(None, {}, created("a", order_id=""))


def test_a_window_concerns_no_order() -> None:
    assert ANALYTICS.key_of(due()) is None


def test_the_first_event_of_a_window_sets_its_timer_and_later_ones_do_not() -> None:
    (timer,) = told(created("a"), captured("b")).timers
    assert timer == Timer(
        task_id=window_task_of(MINUTE, 0),
        after=65.0,
        message=WindowDue(
            event_id=derive(window_task_of(MINUTE, 0), "due"),
            metadata=Metadata(source="analytics", correlation_id=MINUTE),
            window_start=MINUTE,
            window_seconds=60,
            due_at=NOON + timedelta(seconds=65),
        ),
    )


def test_a_window_that_is_due_is_reported_and_closed() -> None:
    analytics = told(created("a"), captured("b"), short("c"), completed("d", NOON + timedelta(seconds=0.2)))
    decision = analytics.take(due("m"))
    assert decision.state is None
    assert analytics.windows[MINUTE].closed
    (report,) = analytics.reports
    assert report == AnalyticsProcessed(
        event_id=derive("m", "AnalyticsProcessed"),
        metadata=Metadata(source="analytics", causation_id="m"),
        window_start=MINUTE,
        window_seconds=60,
        metrics={
            "orders": Decimal(1),
            "completed": Decimal(1),
            "cancelled": Decimal(0),
            "completionRate": Decimal("1.000"),
            "payments": Decimal(1),
            "paymentFailures": Decimal(0),
            "refunds": Decimal(0),
            "reservations": Decimal(0),
            "inventoryFailures": Decimal(1),
            "shipments": Decimal(0),
            "shipmentFailures": Decimal(0),
            "failures": Decimal(1),
            "revenue": PRICE,
            "refunded": Decimal("0.00"),
            "completionSecondsMean": Decimal("0.200"),
            "completionSecondsP95": Decimal("0.200"),
            "completionSecondsMax": Decimal("0.200"),
        },
        processed_at=NOON + timedelta(seconds=65),
    )


def test_a_window_that_is_closed_or_unknown_is_not_reported() -> None:
    assert told(created("a"), due("m")).take(due("n")).outcome == "repeated"
    assert told().take(due("m")).outcome == "ignored"


def test_a_late_event_opens_its_window_again_and_corrects_the_report() -> None:
    analytics = told(created("a"), due("m"), captured("b"), declined("c"))
    first, second = analytics.timers
    assert (first.task_id, second.task_id) == (window_task_of(MINUTE, 0), window_task_of(MINUTE, 1))
    assert first.message.event_id != second.message.event_id
    assert second.message.occurred_at > first.message.occurred_at
    assert second.after == 5.0
    analytics.take(second.message)
    assert [report.metrics["revenue"] for report in analytics.reports] == [Decimal("0.00"), PRICE]


def story(order_id: str, chosen: Sequence[int]) -> list[Message]:
    """Some of the facts of one order, at times of their own."""
    return [
        EVENTS[index](f"{order_id}-{index}", NOON + timedelta(seconds=13 * (index + 7 * len(chosen))), order_id)
        for index in chosen
    ]


stories = st.lists(st.lists(st.integers(0, len(EVENTS) - 1), unique=True, max_size=6), min_size=1, max_size=4)


@given(chosen=stories, data=st.data())
def test_the_windows_add_up_to_the_events_in_whatever_order_they_come(
    chosen: list[list[int]], data: st.DataObject
) -> None:
    facts = [event for number, kinds in enumerate(chosen) for event in story(f"order-{number}", kinds)]
    told_again = [msgspec.structs.replace(event, event_id=f"{event.event_id}-again") for event in facts]
    analytics = Analytics()
    messages = data.draw(shuffled([*facts, *told_again]))
    wakes = data.draw(st.binary(min_size=len(messages), max_size=len(messages)))
    for message, wake in zip(messages, wakes, strict=True):
        analytics.take(message)
        if wake % 2 and analytics.timers:
            analytics.take(analytics.timers[-1].message)
    expected = sum((figures_of(event, None) for event in facts), Figures())
    # How long an order took is known only where its creation was read first.
    assert msgspec.structs.replace(analytics.totals, completion=expected.completion) == expected
    assert len(analytics.kept) == len(facts)
    assert len({timer.task_id for timer in analytics.timers}) == len(analytics.timers)


@given(st.data())
def test_with_one_topics_order_kept_the_times_add_up_too(data: st.DataObject) -> None:
    orders = [f"order-{number}" for number in range(3)]
    took = {order: data.draw(st.integers(0, 200_000)) for order in orders}
    remaining = [
        [created(f"{order}-a", NOON, order), completed(f"{order}-b", NOON + timedelta(milliseconds=took[order]), order)]
        for order in orders
    ]
    analytics = Analytics()
    while any(remaining):
        analytics.take(data.draw(st.sampled_from([topic for topic in remaining if topic])).pop(0))
    completion = analytics.totals.completion
    assert (completion.count, completion.total_ms, completion.max_ms) == (3, sum(took.values()), max(took.values()))


@given(chosen=stories)
def test_every_window_is_reported_with_its_last_figures_in_the_end(chosen: list[list[int]]) -> None:
    analytics = Analytics()
    for number, kinds in enumerate(chosen):
        for message in story(f"order-{number}", kinds):
            analytics.take(message)
        for timer in analytics.timers:
            analytics.take(timer.message)
    last = {report.window_start: report.metrics for report in analytics.reports}
    assert last == {start: window.figures.metrics() for start, window in analytics.windows.items()}
    assert all(window.closed for window in analytics.windows.values())
