"""The check of the audit trail: it leads from nothing to today's status by legal steps."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from orderflow.saga.flow import Plan
from orderflow.saga.protocol import PROTOCOLS
from orderflow.verification.case import Case, Edge

Steps = frozenset[tuple[str, str]]

OF_PARTICIPANTS: Mapping[str, Steps] = {
    "payment": frozenset(
        {
            ("", "charging"),
            ("", "refused"),
            ("charging", "charging"),
            ("charging", "succeeded"),
            ("charging", "failed"),
            ("succeeded", "refunding"),
            ("refunding", "refunded"),
        }
    ),
    "inventory": frozenset(
        {
            ("", "reserved"),
            ("", "failed"),
            ("", "refused"),
            ("reserved", "reserved"),
            ("reserved", "released"),
            ("reserved", "consumed"),
        }
    ),
    "fulfillment": frozenset(
        {
            ("", "booking"),
            ("", "cancelled"),
            ("booking", "cancelling"),
            ("booking", "shipped"),
            ("booking", "failed"),
            ("cancelling", "shipped"),
            ("cancelling", "cancelled"),
            ("failed", "cancelled"),
        }
    ),
}
"""The legal steps of each participant's aggregate, from one status to the next."""


@cache
def steps_of(plan: Plan) -> Steps:
    """Return the legal steps of an order under ``plan``, in canonical words.

    Forward through the plan; back from anywhere before the end; from a first step that failed straight to the end; and
    from the way back forward again where the goods had left already. A line that stays where it is notes something.
    """
    done = [PROTOCOLS[step.name].done for step in plan.steps]
    end = "FAILED" if plan.only_ships else "CANCELLED"
    forward = ["PENDING", *done]
    steps = {("", "PENDING"), ("PENDING", end), ("COMPENSATING", end), (done[-1], "COMPLETED")}
    steps |= set(zip(forward, done, strict=False))
    steps |= {(status, "COMPENSATING") for status in forward[:-1]}
    if plan.ships:
        steps.add(("COMPENSATING", "SHIPPED"))
    return frozenset(steps | {(status, status) for status in (*forward, "COMPENSATING", end, "COMPLETED")})


def trails(case: Case) -> Iterator[str]:
    """Every aggregate's trail begins with its creation, has no gap, and ends at its status."""
    order, payment, reservation, shipment = case.order, case.payment, case.reservation, case.shipment
    if order is not None:
        yield from _trail(case, "order", order.saga.status, steps_of(order.saga.plan))
    statuses: Mapping[str, str | None] = {
        "payment": payment.status if payment else None,
        "inventory": reservation.status if reservation else None,
        "fulfillment": shipment.status if shipment else None,
    }
    for context, status in statuses.items():
        yield from _trail(case, context, status, OF_PARTICIPANTS[context])


def _trail(case: Case, context: str, status: str | None, legal: Steps) -> Iterator[str]:
    trail: Sequence[Edge] = case.trails.get(context, ())
    at = ""
    for number, edge in enumerate(trail, start=1):
        line = f"line {number} of its trail in {context}"
        if edge.before != at:
            yield f"{line} goes on from {edge.before or 'nothing'}, and the one before ends at {at or 'nothing'}"
        if (edge.before, edge.after) not in legal:
            yield f"{line} goes from {edge.before or 'nothing'} to {edge.after}"
        at = edge.after
    if status is None and trail:
        yield f"its trail in {context} ends at {at}, and there is nothing of it"
    elif status is not None and at != status:
        yield f"its trail in {context} ends at {at or 'nothing'}, and it is {status}"
