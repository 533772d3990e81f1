"""The saga against participants that answer twice, late, in any order, or not for a long time.

Whatever happens on the way, once the faults stop the order comes to an end, and what the participants hold then is what
that end says: everything once, or nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderflow.contexts.order.decide import decide
from orderflow.contexts.order.state import Order
from orderflow.contracts import codec, commands, events
from orderflow.contracts.decision import Decision, Refused, Timer
from orderflow.contracts.envelope import Message
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, Item, RequestedItem
from orderflow.contracts.outcomes import StepDeadline
from orderflow.contracts.topics import ORDER_COMMANDS, TOPIC_OF
from orderflow.saga.flow import BUILT_IN, Flow, FlowBook, Step
from orderflow.saga.orchestration import action_for
from orderflow.saga.signals import signal_of
from orderflow.saga.table import Action, Phase, Status

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
TOTAL = Decimal("20.00")
BRIEF = tuple(Step(name=name, asks=2) for name in ("inventory", "payment", "fulfillment"))
FLOWS = FlowBook((Flow(name="brief", steps=BRIEF),))
REQUESTS = {
    commands.OrderPaymentRequested: "payment",
    commands.OrderInventoryRequested: "inventory",
    commands.OrderFulfillmentRequested: "fulfillment",
}
COMPENSATIONS = {
    commands.RefundPayment: "payment",
    commands.ReleaseInventory: "inventory",
    commands.CancelShipment: "fulfillment",
}

BACK = {Phase.COMPENSATING, Phase.CANCELLED}

pick = st.integers(min_value=0, max_value=10_000)
yes_or_no = st.booleans()


@dataclass
class Participant:
    """Someone who does one step at most once and undoes it at most once, and answers every ask from what it knows.

    ``pending`` is work that somebody outside has still to finish; what is asked meanwhile is answered after it.
    """

    step: str
    state: str = "none"
    request_id: str = ""
    undo_request: Message | None = None
    done: int = 0
    undone: int = 0
    answers: list[Message] = field(default_factory=list)

    def take(self, command: Message) -> None:
        if type(command) in REQUESTS:
            self._requested(command)
        else:
            self._undo(command)

    def _requested(self, command: Message) -> None:
        if self.state == "none":
            self.state, self.request_id = "pending", _request_of(command)
        elif self.state == "done":
            self._say("success", command)
        elif self.state in {"failed", "undone", "refused"}:
            self._say("failure", command)

    def _undo(self, command: Message) -> None:
        if self.state == "pending":
            self.undo_request = command
        elif self.state == "done" and self.step == "fulfillment":
            self._say("success", command)
        elif self.state == "done":
            self.state, self.undone = "undone", self.undone + 1
            self._say("compensated", command)
        else:
            self.state = {"none": "refused", "failed": "refused"}.get(self.state, self.state)
            self._say("compensated", command)

    def settle(self, *, success: bool, cause: Message) -> None:
        """Finish the work in hand, and then whatever was asked meanwhile."""
        self.state = "done" if success else "failed"
        self.done += success
        if self.undo_request is None or self.step != "fulfillment":
            self._say("success" if success else "failure", cause)
        waiting, self.undo_request = self.undo_request, None
        if waiting is not None:
            self._undo(waiting)

    def _say(self, what: str, cause: Message) -> None:
        count = len(self.answers)
        self.answers.append(_reply(self, what, cause, f"{self.step}-{count}", NOON + timedelta(seconds=count)))

    @property
    def held(self) -> int:
        return self.done - self.undone


def _request_of(command: Message) -> str:
    request_id: str = getattr(command, "request_id", "")
    return request_id


def _reply(who: Participant, what: str, cause: Message, event_id: str, at: datetime) -> Message:
    effective = who.undone > 0
    request = _request_of(cause)
    known: dict[tuple[str, str], Callable[[], Message]] = {
        ("payment", "success"): lambda: events.PaymentSucceeded(
            event_id=event_id, order_id=ORDER, payment_id="p", amount=TOTAL, processed_at=at, request_id=request
        ),
        ("payment", "failure"): lambda: events.PaymentFailed(
            event_id=event_id,
            order_id=ORDER,
            payment_id="p",
            amount=TOTAL,
            failure_reason="declined",
            failed_at=at,
            request_id=request,
        ),
        ("payment", "compensated"): lambda: events.PaymentRefunded(
            event_id=event_id,
            order_id=ORDER,
            refund_id="r",
            payment_id="p",
            amount=TOTAL if effective else Decimal("0.00"),
            refunded_at=at,
            request_id=request,
        ),
        ("inventory", "success"): lambda: events.InventoryReserved(
            event_id=event_id, order_id=ORDER, reservation_id="v", items=(), reserved_at=at, request_id=request
        ),
        ("inventory", "failure"): lambda: events.InventoryFailed(
            event_id=event_id, order_id=ORDER, failure_reason="short", failed_items=(), failed_at=at, request_id=request
        ),
        ("inventory", "compensated"): lambda: events.InventoryReleased(
            event_id=event_id,
            order_id=ORDER,
            items=(Item(product_id="sku-1", quantity=2),) if effective else (),
            released_at=at,
            request_id=request,
            reservation_id="v" if effective else None,
        ),
        ("fulfillment", "success"): lambda: events.OrderShipped(
            event_id=event_id,
            order_id=ORDER,
            shipment_id="s",
            carrier="c",
            tracking_number="t",
            shipped_at=at,
            request_id=request,
        ),
        ("fulfillment", "failure"): lambda: events.OrderShipmentFailed(
            event_id=event_id, order_id=ORDER, shipment_id="s", error_message="no", failed_at=at, request_id=request
        ),
        ("fulfillment", "compensated"): lambda: events.ShipmentCancelled(
            event_id=event_id, order_id=ORDER, cancelled_at=at, request_id=request, shipment_id="s"
        ),
    }
    return known[who.step, what]()


class SagaMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.order: Order | None = None
        self.participants = {step: Participant(step) for step in REQUESTS.values()}
        self.commands: list[Message] = []
        self.replies: list[Message] = []
        self.timers: dict[str, Timer] = {}
        self.seen: set[str] = set()
        self.sent: dict[str, bytes] = {}
        self.ended: list[str] = []
        self.tasks: set[str] = set()
        self.count = 0
        self.reported = False

    # What the runtime does

    def hand_over(self, message: Message) -> Decision[Order] | None:
        if message.event_id in self.seen:
            return None
        self.seen.add(message.event_id)
        return self.decide(message)

    def decide(self, message: Message) -> Decision[Order]:
        self._check_possible(message)
        decision = decide(self.order, {}, message)
        stored = None if self.order is None else msgspec.json.decode(msgspec.json.encode(self.order), type=Order)
        again = decide(stored, {}, codec.decode(codec.encode(message)))
        assert msgspec.json.encode(again) == msgspec.json.encode(decision)
        self._check_order_of_compensations(decision)
        if decision.state is not None:
            self.order = decision.state
        for sent in decision.messages:
            self._send(sent)
        for task in decision.tasks:
            assert isinstance(task, Timer)
            assert isinstance(task.message, StepDeadline)
            self._check_ask(decision, task, task.message)
            assert task.task_id not in self.tasks
            assert task.request in self.sent
            self.tasks.add(task.task_id)
            self.timers[task.task_id] = task
        for task_id in decision.ended:
            self.timers.pop(task_id, None)
        return decision

    def _send(self, message: Message) -> None:
        raw = codec.encode(message)
        assert message.event_id not in self.sent, f"{message.event_type} was sent twice"
        assert codec.decode(raw) == message
        self.sent[message.event_id] = raw
        if type(message) in REQUESTS or type(message) in COMPENSATIONS:
            self.commands.append(message)
        if isinstance(message, events.OrderCompleted | events.OrderCancelled):
            self.ended.append(message.event_type)

    def _check_ask(self, decision: Decision[Order], task: Timer, due: StepDeadline) -> None:
        """Each ask is one message, whose id follows from the request and the attempt alone."""
        asking = next(sent for sent in decision.messages if sent.event_id == task.request)
        assert asking.event_id == derive(_request_of(asking), str(due.attempt))
        asks = COMPENSATIONS if due.compensating else REQUESTS
        assert asks[type(asking)] == due.step

    def _check_possible(self, message: Message) -> None:
        """What the table calls impossible does not come about."""
        if self.order is None:
            return
        signal = signal_of(self.order.saga, message)
        if signal is not None:
            action = action_for(self.order.saga, signal.kind, signal.step)
            event(f"{action}")
            assert action is not Action.IMPOSSIBLE

    def _check_order_of_compensations(self, decision: Decision[Order]) -> None:
        """A compensation begins only when no later step is done, unknown or being undone."""
        if decision.state is None or decision.state.saga.phase is not Phase.COMPENSATING:
            return
        for sent in decision.messages:
            step = COMPENSATIONS.get(type(sent))
            if step is None or getattr(sent, "attempt", 0) > 1:
                continue
            names = [progress.step for progress in decision.state.saga.steps]
            if step in names and sent.event_id == derive(_request_of(sent), "1"):
                later = decision.state.saga.steps[names.index(step) + 1 :]
                assert all(p.status in {Status.WAITING, Status.FAILED, Status.UNDONE} for p in later)

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}-{self.count}"

    # What happens

    @initialize(flow=st.sampled_from([*(flow.name for flow in BUILT_IN), "brief"]))
    def place(self, flow: str) -> None:
        plan = msgspec.Raw(msgspec.json.encode(FLOWS.choose(flow, "default")))
        self.hand_over(
            commands.CreateOrder(
                event_id="create",
                order_id=ORDER,
                customer_id="customer",
                customer=Customer(customer_id="customer"),
                items=(RequestedItem(product_id="sku-1", quantity=2, price=Decimal("10.00")),),
                requested_at=NOON,
                flow=flow,
                plan=plan,
            )
        )

    @precondition(lambda self: self.commands)
    @rule(which=pick, twice=yes_or_no)
    def command_arrives(self, which: int, twice: bool) -> None:
        command = self.commands.pop(which % len(self.commands))
        participant = self.participants[(REQUESTS | COMPENSATIONS)[type(command)]]
        for _ in range(2 if twice else 1):
            participant.take(command)
        self._collect(participant)

    @precondition(lambda self: any(p.state == "pending" for p in self.participants.values()))
    @rule(which=pick, success=yes_or_no)
    def work_is_done(self, which: int, success: bool) -> None:
        pending = [p for p in self.participants.values() if p.state == "pending"]
        participant = pending[which % len(pending)]
        cause = commands.CancelShipment(
            event_id="cause", order_id=ORDER, request_id=participant.request_id, reason="", requested_at=NOON
        )
        participant.settle(success=success, cause=cause)
        self._collect(participant)

    def _collect(self, participant: Participant) -> None:
        known = {reply.event_id for reply in self.replies} | self.seen
        self.replies += [reply for reply in participant.answers if reply.event_id not in known]

    @precondition(lambda self: self.replies)
    @rule(which=pick, twice=yes_or_no)
    def reply_arrives(self, which: int, twice: bool) -> None:
        reply = self.replies.pop(which % len(self.replies))
        for _ in range(2 if twice else 1):
            self.hand_over(reply)

    @precondition(lambda self: self.commands)
    @rule()
    def the_next_command_goes_well(self) -> None:
        """Without this the way to the last step, and what can go wrong there, would be rare."""
        step = (REQUESTS | COMPENSATIONS)[type(self.commands[0])]
        self.command_arrives(0, twice=False)
        pending = [participant for participant in self.participants.values() if participant.state == "pending"]
        if self.participants[step] in pending:
            self.work_is_done(pending.index(self.participants[step]), success=True)
        if self.replies:
            self.reply_arrives(len(self.replies) - 1, twice=False)

    @precondition(lambda self: self.commands)
    @rule(which=pick)
    def command_is_lost(self, which: int) -> None:
        self.commands.pop(which % len(self.commands))

    @precondition(lambda self: self.replies)
    @rule(which=pick)
    def reply_is_lost(self, which: int) -> None:
        self.seen.add(self.replies.pop(which % len(self.replies)).event_id)

    @precondition(lambda self: self.timers)
    @rule(which=pick)
    def deadline_passes(self, which: int) -> None:
        timer = self.timers.pop(sorted(self.timers)[which % len(self.timers)])
        assert TOPIC_OF[type(timer.message)] == ORDER_COMMANDS
        self.hand_over(timer.message)

    @rule(which=pick)
    def past_deadline_arrives_again(self, which: int) -> None:
        assert self.order is not None
        progress = self.order.saga.steps[which % len(self.order.saga.steps)]
        stale = StepDeadline(
            event_id=self.fresh("stale"),
            order_id=ORDER,
            step=progress.step,
            attempt=max(progress.attempt, 1) - 1,
            due_at=NOON,
        )
        assert self.decide(stale).outcome == "late"

    @precondition(lambda self: self.order is not None and self.order.saga.phase in BACK)
    @rule(which=pick)
    def foreign_payment_is_announced(self, which: int) -> None:
        foreign = events.PaymentSucceeded(
            event_id=self.fresh("foreign"),
            order_id=ORDER,
            payment_id=f"foreign-{which % 2}",
            amount=TOTAL,
            processed_at=NOON,
        )
        self.decide(foreign)

    @rule(word=st.sampled_from(["Cancelled", "Processing", "Shipped", "Failed", "Paid"]))
    def status_is_set(self, word: str) -> None:
        before = self.order
        change = commands.ChangeOrderStatus(
            event_id=self.fresh("change"), order_id=ORDER, status=word, requested_at=NOON, reason="because"
        )
        try:
            decision = self.decide(change)
        except Refused:
            assert self.order == before
            return
        shipped = any(isinstance(sent, events.OrderCompleted) for sent in decision.messages)
        self.reported = self.reported or shipped

    @precondition(lambda self: self.participants["inventory"].state == "done")
    @rule()
    def reservation_expires(self) -> None:
        assert self.order is not None
        expiring = events.ReservationExpiring(
            event_id=self.fresh("expiring"), order_id=ORDER, reservation_id="v", expires_at=NOON
        )
        answers = self.decide(expiring).messages
        assert len(answers) == 1
        if self.order.saga.phase in {Phase.FORWARD, Phase.COMPLETED}:
            assert isinstance(answers[0], commands.ConfirmReservation)

    # What holds

    @invariant()
    def nothing_is_done_twice(self) -> None:
        assert all(participant.held in {0, 1} for participant in self.participants.values())
        assert len(self.ended) <= 1

    @invariant()
    def an_order_completes_only_when_every_step_is_done(self) -> None:
        if self.order is None or self.order.saga.phase is not Phase.COMPLETED or self.reported:
            return
        for progress in self.order.saga.steps:
            assert progress.status is Status.DONE
            assert self.participants[progress.step].state == "done"

    def teardown(self) -> None:
        """Faults stop: what is under way arrives, and silence lets deadlines pass."""
        if self.order is None:
            return
        for _ in range(300):
            if self.commands:
                self.command_arrives(0, twice=False)
            elif any(p.state == "pending" for p in self.participants.values()):
                self.work_is_done(0, success=True)
            elif self.replies:
                self.reply_arrives(0, twice=False)
            elif self.timers:
                self.deadline_passes(0)
            else:
                break
        else:
            raise AssertionError("the order does not come to rest")
        self._check_end()

    def _check_end(self) -> None:
        assert self.order is not None
        saga = self.order.saga
        assert saga.ended
        assert not saga.is_live
        held = {step: participant.held for step, participant in self.participants.items()}
        names = {progress.step for progress in saga.steps}
        if saga.phase is Phase.CANCELLED:
            assert self.ended == ["OrderCancelled"]
            assert set(held.values()) == {0}
        elif not self.reported:
            assert self.ended == ["OrderCompleted"]
            assert held == {step: int(step in names) for step in held}


TestSaga = SagaMachine.TestCase
TestSaga.settings = settings(stateful_step_count=40)
