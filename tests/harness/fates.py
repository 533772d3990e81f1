"""Every way that an order can go, told one by one: what the recorded histories are made of.

Each story is about one order in a system of its own, so that telling another one changes none of those before. They
are told to the real participants over a real database; what is not real is the broker, the clock and the outside.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from harness.pump import START, WELL, System
from harness.story import LAMP, MAIL, NAME, change
from orderflow.contexts.inventory.state import reservation_id_of
from orderflow.contexts.payment.state import payment_id_of
from orderflow.contracts import codec, commands
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import PaymentSucceeded, ReservationExpiring
from orderflow.contracts.items import Customer, Recipient, RequestedItem
from orderflow.providers.faults import Faults, Simulation
from orderflow.saga.flow import BUILT_IN, ORDER_TO_DELIVERY, Flow, FlowBook, Step

PATIENT = 7200.0
"""Seconds: a deadline that outlasts a reservation's review."""
GIVEN_UP = 500.0
"""Seconds after which a step that nobody answers, the shipment too, has been asked for the last time."""
PAUSE = 20.0
"""Seconds between looks at a system in which somebody says nothing: less than any two deadlines are apart."""
WINDOW = 70.0
"""Seconds until the minute is over and reported."""

Tell = Callable[[System, str], None]


@dataclass(frozen=True, slots=True)
class Story:
    """What becomes of one order; its name is its flow and its outcome."""

    flow: str
    outcome: str
    tell: Tell
    simulation: Simulation = WELL
    flows: FlowBook | None = None

    @property
    def name(self) -> str:
        return f"{self.flow}.{self.outcome}"


def stories() -> Iterator[Story]:
    """All of them, flow by flow."""
    for flow in BUILT_IN:
        for outcome, tell in _of(flow).items():
            yield Story(flow.name, outcome, tell, simulation=_OUTSIDE.get(outcome, WELL), flows=_BOOKS.get(outcome))


def _of(flow: Flow) -> dict[str, Tell]:
    """The outcomes that an order of ``flow`` can come to, and how."""
    steps = [step.name for step in flow.steps]
    first, last = steps[0], steps[-1]
    told: dict[str, Tell] = {
        "completed": _completed,
        "asked-again": _silent(first, 2 * PAUSE),
        "given-up": _silent(first, GIVEN_UP),
        "undone-before-it-was-asked": _undone_first(first),
    }
    if len(steps) > 1:
        told |= {
            "given-up-at-the-end": _silent(last, GIVEN_UP),
            "cancelled-at-first": _cancelled_at(first),
            "cancelled-midway": _cancelled_at(steps[1]),
        }
    if flow.name == ORDER_TO_DELIVERY:
        told |= {"nobody-to-tell": _nobody_to_tell, "told-in-vain": _completed}
    if "payment" in steps:
        told |= {"declined": _as_customer("customer-declined"), "charged-after-the-end": _charged_late}
    if "inventory" in steps:
        told |= {"short": _short, "expiring-after-the-end": _expiring_late}
        if last != "inventory":
            told |= {"expiring-and-kept": _expiring(last)}
    if "fulfillment" in steps:
        told |= {"rejected": _as_customer("carrier-rejects"), "left-before-it-was-cancelled": _left_already}
    if steps == ["fulfillment"]:
        told |= {f"reported-{word.lower()}": _reported(word) for word in ("Shipped", "Failed", "Processing")}
    return told


_OUTSIDE = {
    "told-in-vain": Simulation(carrier=WELL.carrier, email=Faults(decline_rate=1)),
    "left-before-it-was-cancelled": Simulation(
        carrier=msgspec.structs.replace(WELL.carrier, timeout_after_success_rate=1)
    ),
}
_BOOKS = {
    "expiring-and-kept": FlowBook(
        tuple(
            Flow(name=flow.name, steps=tuple(Step(name=step.name, deadline_seconds=PATIENT) for step in flow.steps))
            for flow in BUILT_IN
        )
    )
}


def _create(
    system: System, flow: str, *, customer: str = "ada", pieces: int = 1, recipient: Recipient | None = None
) -> None:
    system.ask(
        commands.CreateOrder(
            event_id=f"create {flow}",
            order_id=flow,
            customer_id=customer,
            customer=Customer(customer_id=customer, name=NAME),
            items=(RequestedItem(product_id=LAMP.id, quantity=pieces),),
            requested_at=system.clock.now(),
            flow=flow,
            recipient=recipient or Recipient(customer_id=customer, email=MAIL),
        )
    )


def _completed(system: System, flow: str) -> None:
    _create(system, flow)
    system.settle()


def _nobody_to_tell(system: System, flow: str) -> None:
    _create(system, flow, recipient=Recipient(customer_id="ada"))
    system.settle()


def _as_customer(customer: str) -> Tell:
    def tell(system: System, flow: str) -> None:
        _create(system, flow, customer=customer)
        system.settle()

    return tell


def _short(system: System, flow: str) -> None:
    _create(system, flow, pieces=LAMP.stock + 1)
    system.settle()


def _cancelled_at(step: str) -> Tell:
    def tell(system: System, flow: str) -> None:
        _create(system, flow)
        system.settle(resting={step})
        change(system, flow, "Cancelled")
        system.settle()

    return tell


def _silent(step: str, seconds: float) -> Tell:
    """The step's context answers nothing for so long; then it meets all that it was asked meanwhile at once."""

    def tell(system: System, flow: str) -> None:
        _create(system, flow)
        system.settle(resting={step})
        _pass(system, seconds, step)
        system.settle()

    return tell


def _pass(system: System, seconds: float, silent: str) -> None:
    for _ in range(int(seconds // PAUSE)):
        system.wait(PAUSE, resting={silent})


def _undone_first(step: str) -> Tell:
    """The step's compensation overtakes its request."""

    def tell(system: System, flow: str) -> None:
        system.send(_undoing(step, flow, system))
        system.settle()
        _create(system, flow)
        system.settle()

    return tell


def _undoing(step: str, order_id: str, system: System) -> Message:
    kind: type[Message]
    match step:
        case "payment":
            kind, more = commands.RefundPayment, {"amount": "0.00"}
        case "inventory":
            kind, more = commands.ReleaseInventory, {}
        case _:
            kind, more = commands.CancelShipment, {}
    content = {
        "eventType": kind.__name__,
        "eventId": f"undo {order_id}",
        "orderId": order_id,
        "requestId": f"undoing {order_id}",
        "reason": "overtaken",
        "requestedAt": system.clock.now(),
        **more,
    }
    return codec.decode(msgspec.json.encode(content))


def _charged_late(system: System, flow: str) -> None:
    """The order has ended without a charge, its minute is over, and then one is reported after all."""
    _create(system, flow, customer="customer-declined")
    system.wait(WINDOW)
    system.send(
        PaymentSucceeded(
            event_id=f"late {flow}",
            order_id=flow,
            payment_id=payment_id_of(flow),
            amount=LAMP.price,
            processed_at=START,
        )
    )
    system.settle()


def _expiring(last: str) -> Tell:
    """The reservation comes to its time while the last step is still awaited."""

    def tell(system: System, flow: str) -> None:
        _create(system, flow)
        system.settle(resting={last})
        system.wait(timedelta(minutes=16).total_seconds(), resting={last})
        system.settle()

    return tell


def _expiring_late(system: System, flow: str) -> None:
    """A reservation is said to expire whose order has given it back."""
    _short(system, flow)
    system.send(
        ReservationExpiring(
            event_id=f"expiring {flow}",
            order_id=flow,
            reservation_id=reservation_id_of(flow),
            expires_at=system.clock.now(),
        )
    )
    system.settle()


def _left_already(system: System, flow: str) -> None:
    """The carrier's answer is lost and the order gives up; then the goods turn out to have left."""
    _create(system, flow)
    system.settle()
    _pass(system, GIVEN_UP, "fulfillment")
    system.settle()


def _reported(word: str) -> Tell:
    """Somebody outside says what became of the shipment before the carrier does."""

    def tell(system: System, flow: str) -> None:
        _create(system, flow)
        system.settle(resting={"fulfillment"})
        change(system, flow, word)
        system.settle()

    return tell
