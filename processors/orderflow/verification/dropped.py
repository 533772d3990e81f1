"""What cannot be verified any more, because it was dropped after its time.

Each context writes down how far dropping has come in each of its tables. What is missing from before that horizon may
have been dropped and is no violation; it is counted as not checked, under the promise that it belongs to. What is
missing from after it is missing.

Rows of an order are never older than the order, so an order that was accepted after a horizon lacks nothing by it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from orderflow.runtime.dropping import Horizon
from orderflow.verification.case import Case
from orderflow.verification.fates import ENDINGS
from orderflow.verification.report import DroppedPeriod

SKEW: Final = timedelta(minutes=5)
"""What the clocks of two contexts may differ by."""


class Horizons:
    """How far dropping has come, by context and table.

    Args:
        topic_life: how long a message may lie on the broker between its being published and its being processed.
    """

    def __init__(self, of: Mapping[str, Mapping[str, Horizon]], topic_life: timedelta) -> None:
        self._of = of
        sent = [tables["outbox"].until for tables in of.values() if "outbox" in tables]
        self._sent_until = max(sent) + topic_life if sent else None

    def may_lack(self, context: str, table: str, since: datetime) -> bool:
        """Tell whether a row of ``table`` that is not older than ``since`` may have been dropped."""
        horizon = self._of.get(context, {}).get(table)
        return horizon is not None and since < horizon.until + SKEW

    def may_lack_sender(self, processed_at: datetime) -> bool:
        """Tell whether the outbox row of a message that was processed then may have been dropped, whoever sent it."""
        return self._sent_until is not None and processed_at < self._sent_until + SKEW

    def periods(self) -> tuple[DroppedPeriod, ...]:
        """Return what was dropped, for the report."""
        return tuple(
            DroppedPeriod(context=context, table=horizon.table, until=horizon.until, rows=horizon.dropped)
            for context, tables in self._of.items()
            for horizon in tables.values()
        )


def not_checkable(case: Case, horizons: Horizons) -> frozenset[str]:
    """Return the promises to which the order cannot be held any more: what shows them is missing, and may be."""
    order = case.order
    if order is None:
        return frozenset()
    lost: set[str] = set()
    if horizons.may_lack("order", "outbox", order.created_at):
        if not case.announced.get("OrderCreated"):
            lost.add("order-accepted")
        end = ENDINGS.get(order.saga.phase)
        if end is not None and not case.announced.get(end):
            lost.add("ended-once")
    without_trail = {
        context
        for context in _with_trail(case)
        if not case.trails.get(context) and horizons.may_lack(context, "audit_trail", order.created_at)
    }
    if without_trail:
        lost.add("audit-trail")
    if "order" in without_trail:
        # The trail says how often the order came to its end, and whether somebody outside had shipped it.
        lost |= {"ended-once", "completed-as-planned"} if order.saga.plan.only_ships else {"ended-once"}
    return frozenset(lost)


def _with_trail(case: Case) -> frozenset[str]:
    """Return the contexts that have a trail of the order, or had one."""
    held = {
        "order": case.order,
        "payment": case.payment,
        "inventory": case.reservation,
        "fulfillment": case.shipment,
    }
    return frozenset(name for name, state in held.items() if state is not None)
