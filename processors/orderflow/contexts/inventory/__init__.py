"""Inventory: sets an order's items aside, all or none, until the order completes or gives them back.

Owns products, stock levels and reservations. Takes OrderInventoryRequested, ReleaseInventory and ConfirmReservation,
the timers of its own reviews, and OrderCompleted, by which an order consumes what it had reserved. Gives
InventoryReserved, InventoryFailed, InventoryReleased, ReservationExpiring and ProductChanged.
"""

from functools import partial

from orderflow.contexts.inventory.decide import RESERVATION_SECONDS, decide, needs
from orderflow.contexts.inventory.state import Reservation, is_live
from orderflow.contexts.inventory.stock import announce
from orderflow.contexts.inventory.tables import RESERVATIONS, STOCK, metadata
from orderflow.contracts.commands import ConfirmReservation, OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.events import OrderCompleted
from orderflow.contracts.outcomes import ReservationDue
from orderflow.contracts.topics import INVENTORY_COMMANDS, ORDER_EVENTS
from orderflow.runtime.context import Context, SharedRows


def inventory_context(reservation_seconds: float = RESERVATION_SECONDS) -> Context[Reservation]:
    """Return the context whose reservations hold for ``reservation_seconds`` before the order is asked about them."""
    return Context(
        name="inventory",
        takes={
            INVENTORY_COMMANDS: frozenset(
                {OrderInventoryRequested, ReleaseInventory, ConfirmReservation, ReservationDue}
            ),
            ORDER_EVENTS: frozenset({OrderCompleted}),
        },
        decide=partial(decide, reservation_seconds=reservation_seconds),
        aggregate=RESERVATIONS,
        tables=metadata,
        is_live=is_live,
        shared=SharedRows(rows=STOCK, needs=needs, announce=announce),
        compensations=frozenset({ReleaseInventory}),
    )


INVENTORY: Context[Reservation] = inventory_context()
