"""Analytics: counts what happened, minute by minute. Eventually consistent, and never asked when anything is decided.

Owns the business events, the windows they are counted in and each order's journey. Takes the facts of the four other
contexts, and its own timers. Gives AnalyticsProcessed, once per window and again when a late event corrects it.
"""

from orderflow.contexts.analytics.decide import decide, windows_needed
from orderflow.contexts.analytics.state import Journey, is_live
from orderflow.contexts.analytics.tables import JOURNEYS, WINDOWS, metadata
from orderflow.contracts import topics
from orderflow.contracts.events import (
    InventoryFailed,
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
from orderflow.contracts.outcomes import WindowDue
from orderflow.runtime.context import Context, SharedRows

__all__ = ["ANALYTICS", "Journey"]

ANALYTICS: Context[Journey] = Context(
    name="analytics",
    takes={
        topics.ORDER_EVENTS: frozenset({OrderCreated, OrderCompleted, OrderCancelled}),
        topics.PAYMENT_EVENTS: frozenset({PaymentSucceeded, PaymentFailed, PaymentRefunded}),
        topics.INVENTORY_EVENTS: frozenset({InventoryReserved, InventoryFailed}),
        topics.FULFILLMENT_EVENTS: frozenset({OrderShipped, OrderShipmentFailed}),
        topics.ANALYTICS_COMMANDS: frozenset({WindowDue}),
    },
    decide=decide,
    aggregate=JOURNEYS,
    patience=0.2,  # nobody waits for it
    tables=metadata,
    is_live=is_live,
    shared=SharedRows(rows=WINDOWS, needs=windows_needed, locked=True, shown_as="analytics-windows"),
)
