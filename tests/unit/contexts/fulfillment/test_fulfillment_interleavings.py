"""A shipment is booked, called off and answered in any order: the outside and we agree in the end."""

from datetime import UTC, datetime
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from orderflow.contexts.fulfillment import FULFILLMENT, Shipment
from orderflow.contracts.commands import CancelShipment, OrderFulfillmentRequested
from orderflow.contracts.decision import Call
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderShipmentFailed, OrderShipped, ShipmentCancelled
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, Item
from orderflow.contracts.outcomes import CarrierAnswered
from orderflow.providers.protocol import ProviderAnswer

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
Operation = Literal["book", "cancel"]


class Carrier:
    """Settles a shipment once: whichever call reaches it first."""

    def __init__(self, willing: bool) -> None:
        self._willing = willing
        self._answers: dict[str, ProviderAnswer] = {}
        self.shipped = False

    def call(self, operation: str) -> ProviderAnswer:
        if operation not in self._answers:
            self._answers[operation] = self._settle(operation)
        return self._answers[operation]

    def _settle(self, operation: str) -> ProviderAnswer:
        if operation == "cancel":
            return self._answers["book"] if self.shipped else ProviderAnswer(status="cancelled")
        if not self._willing or "cancel" in self._answers:
            return ProviderAnswer(status="rejected", detail={"reason": "no"})
        self.shipped = True
        return ProviderAnswer(status="shipped", reference="T-1", detail={"carrier": "Swift", "trackingNumber": "T-1"})


class Story:
    """One order's shipment, with the runtime's promises: an outcome is recorded once, and only of an open task."""

    def __init__(self, willing: bool) -> None:
        self.carrier = Carrier(willing)
        self.shipment: Shipment | None = None
        self.replies: list[Message] = []
        self.calls: dict[str, Call] = {}
        self.open: set[str] = set()
        self.on_their_way: list[Message] = []
        self._asks = 0

    def take(self, message: Message) -> list[Message]:
        decision = FULFILLMENT.decide(self.shipment, {}, message)
        self.shipment = decision.state
        for task in decision.tasks:
            assert isinstance(task, Call)
            assert task.operation not in self.calls, "nothing is called for twice"
            self.calls[task.operation] = task
            self.open.add(task.task_id)
        self.open -= set(decision.ended)
        self.replies += decision.messages
        return list(decision.messages)

    def ask(self) -> list[Message]:
        self._asks += 1
        return self.take(
            OrderFulfillmentRequested(
                event_id=derive("ship-1", str(self._asks)),
                order_id="order-1",
                request_id="ship-1",
                items=(Item(product_id="mug", quantity=1),),
                customer=Customer(customer_id="customer-1"),
                requested_at=NOON,
                attempt=self._asks,
            )
        )

    def cancel(self) -> list[Message]:
        self._asks += 1
        return self.take(
            CancelShipment(
                event_id=derive("undo-1", str(self._asks)),
                order_id="order-1",
                request_id="undo-1",
                reason="",
                requested_at=NOON,
                attempt=self._asks,
            )
        )

    def carry_out(self, operation: Operation) -> None:
        """Let the carrier take a call that was made at some time, even if nobody waits for it any more."""
        call = self.calls.get(operation)
        if call is not None:
            self.carrier.call(operation)

    def record(self, operation: Operation) -> None:
        """Record the call's outcome, if its task is still open."""
        call = self.calls.get(operation)
        if call is not None and call.task_id in self.open:
            self.open.remove(call.task_id)
            answer = FULFILLMENT.answers[f"carrier/{operation}"](call, self.carrier.call(operation), NOON)
            assert isinstance(answer, CarrierAnswered)
            self.on_their_way.append(answer)

    def deliver(self, index: int) -> None:
        if self.on_their_way:
            self.take(self.on_their_way.pop(index % len(self.on_their_way)))

    def drain(self) -> None:
        while self.open or self.on_their_way:
            self.record("book")
            self.record("cancel")
            self.deliver(0)


steps = st.lists(
    st.sampled_from(
        ["ask", "cancel", "book is carried out", "cancel is carried out", "book is recorded", "cancel is recorded"]
    )
    | st.integers(0, 1),
    max_size=14,
)


def play(story: Story, step: str | int) -> None:
    match step:
        case int():
            story.deliver(step)
        case "ask":
            story.ask()
        case "cancel":
            story.cancel()
        case "book is carried out":
            story.carry_out("book")
        case "cancel is carried out":
            story.carry_out("cancel")
        case "book is recorded":
            story.record("book")
        case _:
            story.record("cancel")


@given(willing=st.booleans(), steps=steps)
def test_the_outcome_is_the_carriers_and_never_two(willing: bool, steps: list[str | int]) -> None:
    story = Story(willing)
    for step in steps:
        play(story, step)
    story.drain()

    said = {type(reply) for reply in story.replies}
    shipped = story.shipment is not None and story.shipment.status == "shipped"
    assert shipped == (OrderShipped in said)
    assert not (OrderShipped in said and said & {ShipmentCancelled, OrderShipmentFailed})
    if story.shipment is not None:
        # A booking that is still out when the cancellation is settled finds the carrier closed.
        story.carry_out("book")
        assert shipped == story.carrier.shipped


@given(willing=st.booleans(), steps=steps)
def test_whoever_asks_again_is_answered_the_same(willing: bool, steps: list[str | int]) -> None:
    story = Story(willing)
    for step in steps:
        play(story, step)
    story.ask()
    story.drain()
    first, second = story.ask(), story.ask()
    assert [type(reply) for reply in first] == [type(reply) for reply in second]
    assert len(first) == 1
    undone, undone_again = story.cancel(), story.cancel()
    expected = OrderShipped if story.carrier.shipped else ShipmentCancelled
    assert [type(reply) for reply in (*undone, *undone_again)] == [expected, expected]
