"""Checks of what became of an order: that it is there, that it ended, and that its end is what it says."""

from collections import Counter
from collections.abc import Iterator

from orderflow.contexts.order.state import Order
from orderflow.saga.table import Phase
from orderflow.verification.case import Case

ENDINGS = {Phase.COMPLETED: "OrderCompleted", Phase.CANCELLED: "OrderCancelled"}
TERMINAL = frozenset({"COMPLETED", "CANCELLED", "FAILED"})
MOVERS = frozenset({"order", "payment", "inventory", "fulfillment"})
"""The contexts that an order waits for: a message that one of them could not decide may have stopped it."""


def accepted(case: Case) -> Iterator[str]:
    """An order is announced once; nobody has anything of an order that is not there."""
    announced = case.announced.get("OrderCreated", 0)
    if case.order is not None:
        if announced != 1:
            yield f"its OrderCreated stands {announced} times in the outbox"
    elif case.announced or case.trails.get("order"):
        yield "the order context has sent messages or kept a trail of it, and has no such order"
    elif case.known_to:
        yield f"there is no such order, yet {', '.join(case.known_to)} know of it"


def answered(case: Case) -> Iterator[str]:
    """An idempotency key has an answer, and its order is there."""
    if case.answers and case.order is None:
        yield "an idempotency key was answered with it, and there is no such order"
    if case.unanswered:
        yield "its idempotency key has no answer"


def terminal(case: Case) -> Iterator[str]:
    """An order has ended with nothing left to undo; online it may be under way, if something will move it."""
    if case.order is None or not case.order.saga.is_live or case.stopped & MOVERS:
        return
    status = case.order.saga.status
    if not case.online:
        yield f"it is {status}, and no dead letter says why"
    elif not any(task.context == "order" for task in case.tasks):
        yield f"it is {status}, and no deadline will move it"


def ended_once(case: Case) -> Iterator[str]:
    """The end is announced once and stands once in the trail."""
    if case.order is None:
        return
    expected = ENDINGS.get(case.order.saga.phase)
    told = Counter({name: case.announced.get(name, 0) for name in ENDINGS.values()})
    wanted = Counter({name: int(name == expected) for name in ENDINGS.values()})
    for name, times in told.items():
        if times != wanted[name]:
            yield f"it is {case.order.saga.status}, and {name} stands {times} times in its outbox"
    ends = [edge for edge in case.trails.get("order", ()) if edge.after in TERMINAL and edge.before != edge.after]
    if len(ends) != int(expected is not None):
        yield f"it is {case.order.saga.status}, and its trail comes to an end {len(ends)} times"


def as_planned(case: Case) -> Iterator[str]:
    """A completed order has had every step of its plan, and no other."""
    order = case.order
    if order is None or order.saga.phase is not Phase.COMPLETED or order.saga.is_live:
        return
    planned = {step.name for step in order.saga.plan.steps}
    if case.is_settled("payment"):
        yield from _paid(case, order) if "payment" in planned else _nothing_paid(case)
    if case.is_settled("inventory"):
        yield from _consumed(case, order) if "inventory" in planned else _nothing_held(case)
    if case.is_settled("fulfillment"):
        yield from _shipped(case, order) if "fulfillment" in planned else _nothing_shipped(case)


def keeps_nothing(case: Case) -> Iterator[str]:
    """A cancelled order keeps no money, no stock and no parcel."""
    order = case.order
    if order is None or order.saga.phase is not Phase.CANCELLED or order.saga.is_live:
        return
    if case.is_settled("payment"):
        yield from _nothing_paid(case)
    if case.is_settled("inventory"):
        yield from _nothing_held(case)
    if case.is_settled("fulfillment"):
        yield from _nothing_shipped(case)


def _paid(case: Case, order: Order) -> Iterator[str]:
    payment = case.payment
    if payment is None:
        yield "it completed without a payment"
    elif (payment.status, payment.amount) != ("succeeded", order.total):
        yield f"it completed at {order.total}, and its payment of {payment.amount} is {payment.status}"


def _nothing_paid(case: Case) -> Iterator[str]:
    payment = case.payment
    if payment is None:
        return
    if payment.status in {"charging", "refunding"}:
        yield f"its payment is still {payment.status}"
    elif kept := payment.captured - payment.refunded:
        yield f"{kept} of its payment is kept"


def _consumed(case: Case, order: Order) -> Iterator[str]:
    reservation = case.reservation
    if reservation is None:
        yield "it completed without a reservation"
        return
    if reservation.status != "consumed":
        yield f"it completed, and its reservation is {reservation.status}"
    ordered, held = Counter[str](), Counter[str]()
    for item in order.items:
        ordered[item.product_id] += item.quantity
    for reserved in reservation.items:
        held[reserved.product_id] += reserved.quantity
    if ordered != held:
        yield "its reservation is of other items than it ordered"


def _nothing_held(case: Case) -> Iterator[str]:
    if case.reservation is not None and case.reservation.status in {"reserved", "consumed"}:
        yield f"its reservation is {case.reservation.status}"


def _shipped(case: Case, order: Order) -> Iterator[str]:
    if order.saga.plan.only_ships and was_reported(case):
        # Somebody outside has shipped it; our own shipment was called off, unless it had left already.
        return
    shipment = case.shipment
    if shipment is None:
        yield "it completed without a shipment"
    elif shipment.status != "shipped":
        yield f"it completed, and its shipment is {shipment.status}"
    elif order.fulfillment.tracking_number != shipment.tracking_number:
        yield "it shows another tracking number than its shipment"


def _nothing_shipped(case: Case) -> Iterator[str]:
    if case.shipment is not None and case.shipment.status in {"booking", "cancelling", "shipped"}:
        yield f"its shipment is {case.shipment.status}"


def was_reported(case: Case) -> bool:
    """Whether the order completed because somebody outside reported it as shipped."""
    return any(
        edge.after == "COMPLETED" and edge.event_type == "ChangeOrderStatus" for edge in case.trails.get("order", ())
    )
