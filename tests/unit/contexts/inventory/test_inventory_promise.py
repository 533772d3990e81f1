"""Stock: available + reserved + consumed = initial + restocked, and never below zero, whatever comes in."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orderflow.contexts.inventory import INVENTORY
from orderflow.contexts.inventory.state import Reservation, StockLevel, reservation_id_of
from orderflow.contexts.inventory.stock import opened, redeclared
from orderflow.contracts.commands import ConfirmReservation, OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.decision import Decision, Refused, Timer
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import InventoryFailed, InventoryReleased, InventoryReserved, OrderCompleted
from orderflow.contracts.items import Item

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDERS = st.sampled_from(["order-1", "order-2", "order-3", "order-4"])
PRODUCTS = ["cup", "jug", "pot"]
ITEMS = st.lists(
    st.builds(Item, product_id=st.sampled_from([*PRODUCTS, "unicorn"]), quantity=st.integers(1, 4)),
    min_size=1,
    max_size=3,
).map(tuple)


class Shop(RuleBasedStateMachine):
    """Several orders share few products; what reaches inventory comes in any order, twice, late or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.stock: dict[str, StockLevel] = {
            name: opened(name, name.title(), Decimal("5.00"), pieces, NOON)
            for name, pieces in zip(PRODUCTS, (1, 3, 6), strict=True)
        }
        self.reservations: dict[str, Reservation] = {}
        self.wanted: dict[str, tuple[Item, ...]] = {}
        self.timers: dict[str, Timer] = {}
        self.count = 0

    def hear(self, message: Message) -> Decision[Reservation] | None:
        assert INVENTORY.shared is not None
        state = self.reservations.get(message.order_id)
        needed = set(INVENTORY.shared.needs(state, message))
        shared = {key: level for key, level in self.stock.items() if key in needed}
        try:
            decision = INVENTORY.decide(state, shared, message)
        except Refused:
            return None
        assert decision.shared.keys() <= needed
        for product_id, level in decision.shared.items():
            assert level.version == self.stock[product_id].version + 1
        self.stock.update(decision.shared)
        if decision.state is not None:
            self.reservations[message.order_id] = decision.state
        for task in decision.tasks:
            assert isinstance(task, Timer)
            assert task.task_id not in self.timers, "a timer was set twice"
            self.timers[task.task_id] = task
        return decision

    def named(self, order_id: str) -> tuple[str, datetime]:
        self.count += 1
        return f"{order_id}/{self.count}", NOON + timedelta(seconds=self.count)

    @rule(order_id=ORDERS, items=ITEMS)
    def request(self, order_id: str, items: tuple[Item, ...]) -> None:
        event_id, at = self.named(order_id)
        fresh = order_id not in self.reservations
        decision = self.hear(
            OrderInventoryRequested(
                event_id=event_id,
                order_id=order_id,
                request_id=order_id,
                items=self.wanted.setdefault(order_id, items),
                requested_at=at,
            )
        )
        assert decision is not None
        (reply,) = decision.messages
        assert isinstance(reply, InventoryReserved | InventoryFailed)
        assert fresh or not decision.shared, "an order reserves once"

    @rule(order_id=ORDERS, items=ITEMS)
    def request_something_else(self, order_id: str, items: tuple[Item, ...]) -> None:
        event_id, at = self.named(order_id)
        if order_id in self.reservations:
            self.hear(
                OrderInventoryRequested(
                    event_id=event_id, order_id=order_id, request_id="other", items=items, requested_at=at
                )
            )

    @rule(order_id=ORDERS)
    def release(self, order_id: str) -> None:
        event_id, at = self.named(order_id)
        before = self.reservations.get(order_id)
        decision = self.hear(
            ReleaseInventory(event_id=event_id, order_id=order_id, request_id=order_id, reason="any", requested_at=at)
        )
        if before is not None and before.status == "consumed":
            assert decision is None, "what has left is not given back"
            return
        assert decision is not None
        assert [type(reply) for reply in decision.messages] == [InventoryReleased]

    @rule(order_id=ORDERS, minutes=st.integers(-20, 60))
    def confirm(self, order_id: str, minutes: int) -> None:
        event_id, at = self.named(order_id)
        self.hear(
            ConfirmReservation(
                event_id=event_id,
                order_id=order_id,
                request_id=event_id,
                reservation_id=reservation_id_of(order_id),
                until=at + timedelta(minutes=minutes),
                requested_at=at,
            )
        )

    @rule(order_id=ORDERS)
    def complete(self, order_id: str) -> None:
        event_id, at = self.named(order_id)
        self.hear(OrderCompleted(event_id=event_id, order_id=order_id, completed_at=at))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """Fire a timer, ended ones included: it may have been on its way."""
        stock = dict(self.stock)
        self.hear(self.timers[data.draw(st.sampled_from(sorted(self.timers)))].message)
        assert self.stock == stock, "inventory never releases by clock"

    @rule(product_id=st.sampled_from(PRODUCTS), pieces=st.integers(0, 12))
    def restock(self, product_id: str, pieces: int) -> None:
        level = self.stock[product_id]
        self.stock[product_id] = redeclared(level, level.name, level.price, pieces, NOON)

    @invariant()
    def every_piece_is_somewhere_and_no_count_is_negative(self) -> None:
        for level in self.stock.values():
            assert level.available + level.reserved + level.consumed == level.initial + level.restocked
            assert min(level.available, level.reserved, level.consumed, level.restocked) >= 0

    @invariant()
    def the_stock_agrees_with_the_reservations(self) -> None:
        held: Counter[tuple[str, str]] = Counter()
        for reservation in self.reservations.values():
            for item in reservation.items:
                held[item.product_id, reservation.status] += item.quantity
        for product_id, level in self.stock.items():
            assert (level.reserved, level.consumed) == (held[product_id, "reserved"], held[product_id, "consumed"])

    @invariant()
    def whatever_is_reserved_has_a_review_ahead(self) -> None:
        for reservation in self.reservations.values():
            if reservation.status == "reserved":
                newest = [timer.message for timer in self.timers.values()]
                assert any(
                    (getattr(due, "reservation_id", ""), getattr(due, "review", 0))
                    == (reservation.reservation_id, reservation.review)
                    for due in newest
                )


TestShop = Shop.TestCase
TestShop.settings = settings(stateful_step_count=30)
