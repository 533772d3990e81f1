"""Checks of analytics: its figures are recounted from its events, and its events held against what happened."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta

from orderflow.contexts.analytics.state import window_of
from orderflow.saga.table import Phase
from orderflow.verification.case import Case, Fact
from orderflow.verification.fates import MOVERS

COUNTED: Mapping[str, str] = {
    "OrderCreated": "orders",
    "OrderCompleted": "completed",
    "OrderCancelled": "cancelled",
    "PaymentSucceeded": "payments",
    "PaymentFailed": "payment_failures",
    "InventoryReserved": "reservations",
    "InventoryFailed": "inventory_failures",
    "OrderShipped": "shipments",
    "OrderShipmentFailed": "shipment_failures",
}
"""The figure that an event of each type counts for. A refund counts where it gave something back."""

FIGURES = (
    *COUNTED.values(),
    "refunds",
    "revenue_cents",
    "refunded_cents",
    "completion_count",
    "completion_total_ms",
    "completion_max_ms",
)
"""The figures that are recounted: the columns of a window."""

HELD = frozenset({"reserved", "released", "consumed"})

Figures = Counter[str]


class Recount:
    """The figures of every window, counted again from the events alone."""

    def __init__(self) -> None:
        self.windows: dict[str, Figures] = {}

    def add(self, case: Case) -> None:
        """Count the order's events."""
        created = next((fact for fact in case.facts if fact.event_type == "OrderCreated"), None)
        for fact in case.facts:
            figures = self.windows.setdefault(window_of(fact.at), Counter())
            if fact.event_type in COUNTED:
                figures[COUNTED[fact.event_type]] += 1
            if fact.event_type == "OrderCompleted" and created is not None:
                _lasted(figures, max(0, (fact.at - created.at) // timedelta(milliseconds=1)))
            if fact.event_type in {"PaymentSucceeded", "PaymentRefunded"}:
                _money(figures, fact)


def _lasted(figures: Figures, milliseconds: int) -> None:
    figures["completion_count"] += 1
    figures["completion_total_ms"] += milliseconds
    figures["completion_max_ms"] = max(figures["completion_max_ms"], milliseconds)


def _money(figures: Figures, fact: Fact) -> None:
    cents = int((fact.amount or 0) * 100)
    if fact.event_type == "PaymentSucceeded":
        figures["revenue_cents"] += cents
    else:
        figures["refunded_cents"] += cents
        figures["refunds"] += cents > 0


def adds_up(shown: Mapping[str, int] | None, counted: Figures | None) -> Iterator[str]:
    """A window shows the figures of its events."""
    if shown is None:
        yield "there are events of it, and no figures"
        return
    for name in FIGURES:
        again = counted[name] if counted else 0
        if shown[name] != again:
            yield f"{name} is {shown[name]}, counted from the events it is {again}"


def counted_once(case: Case) -> Iterator[str]:
    """The order's journey names each of its events, and each once."""
    kept = Counter(fact.event_type for fact in case.facts)
    counted = Counter(case.journey.counted if case.journey else ())
    for name in sorted(kept | counted):
        if (kept[name], counted[name]) != (1, 1):
            yield f"{name} is kept {kept[name]} times and counted {counted[name]} times"


def agrees(case: Case) -> Iterator[str]:
    """What was counted of an order that has ended is what the other contexts hold of it."""
    order = case.order
    if order is None or order.saga.is_live or not case.is_settled("analytics", *MOVERS):
        return
    payment, reservation, shipment = case.payment, case.reservation, case.shipment
    captured = payment is not None and payment.status in {"succeeded", "refunding", "refunded"}
    happened = {
        "OrderCreated": True,
        "OrderCompleted": order.saga.phase is Phase.COMPLETED,
        "OrderCancelled": order.saga.phase is Phase.CANCELLED,
        "PaymentSucceeded": captured,
        "InventoryReserved": reservation is not None and reservation.status in HELD,
        "OrderShipped": shipment is not None and shipment.status == "shipped",
    }
    facts = {fact.event_type: fact for fact in case.facts}
    for name, expected in happened.items():
        if expected and name not in facts:
            yield f"its {name} was not counted"
        elif name in facts and not expected:
            yield f"an {name} of it was counted that there was not"
    if payment is not None:
        amounts = {"PaymentSucceeded": payment.captured, "PaymentRefunded": payment.refunded}
        for name, amount in amounts.items():
            if name in facts and facts[name].amount != amount:
                yield f"its {name} was counted with {facts[name].amount}, and it is {amount}"
