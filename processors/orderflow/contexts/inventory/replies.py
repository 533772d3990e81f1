"""What inventory answers: each reply is made from the state, for the message that asks.

A reply's ``event_id`` follows from that message, so every ask has an answer of its own with the same content.
"""

from datetime import datetime

from orderflow.contexts.inventory.state import Reservation, reservation_id_of
from orderflow.contracts.commands import OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.envelope import caused_by
from orderflow.contracts.events import InventoryFailed, InventoryReleased, InventoryReserved, ReservationExpiring
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item, ShortItem
from orderflow.contracts.outcomes import ReservationDue

CONTEXT = "inventory"
SHORT = "insufficient stock"
COMPENSATED = "the reservation was compensated before this request: nothing is reserved for it"


def reserved(reservation: Reservation, message: OrderInventoryRequested) -> InventoryReserved:
    """Say what is set aside, since when and until when at least."""
    return InventoryReserved(
        event_id=derive(message.event_id, "InventoryReserved"),
        order_id=reservation.order_id,
        metadata=caused_by(message, CONTEXT),
        reservation_id=reservation.reservation_id,
        items=reservation.items,
        reserved_at=reservation.requested_at,
        request_id=message.request_id,
        expires_at=reservation.expires_at,
    )


def short(reservation: Reservation, message: OrderInventoryRequested) -> InventoryFailed:
    """Say that nothing was set aside, and what there was too little of."""
    return _failed(message, SHORT, reservation.failed_items, reservation.requested_at)


def compensated(message: OrderInventoryRequested) -> InventoryFailed:
    """Refuse a request that came after its compensation."""
    return _failed(message, COMPENSATED, (), message.occurred_at)


def released(reservation: Reservation, message: ReleaseInventory) -> InventoryReleased:
    """Say what was given back, when it was."""
    return _released(message, reservation.items, reservation.released_at or message.occurred_at)


def nothing_released(message: ReleaseInventory) -> InventoryReleased:
    """Say that the order holds nothing, and will not."""
    return _released(message, (), message.occurred_at)


def expiring(reservation: Reservation, message: ReservationDue) -> ReservationExpiring:
    """Ask the order, which alone knows, whether it still needs the reservation."""
    return ReservationExpiring(
        event_id=derive(message.event_id, "ReservationExpiring"),
        order_id=reservation.order_id,
        metadata=caused_by(message, CONTEXT),
        reservation_id=reservation.reservation_id,
        expires_at=reservation.expires_at or message.occurred_at,
    )


def _failed(
    message: OrderInventoryRequested, reason: str, failed_items: tuple[ShortItem, ...], at: datetime
) -> InventoryFailed:
    return InventoryFailed(
        event_id=derive(message.event_id, "InventoryFailed"),
        order_id=message.order_id,
        metadata=caused_by(message, CONTEXT),
        failure_reason=reason,
        failed_items=failed_items,
        failed_at=at,
        request_id=message.request_id,
    )


def _released(message: ReleaseInventory, items: tuple[Item, ...], at: datetime) -> InventoryReleased:
    return InventoryReleased(
        event_id=derive(message.event_id, "InventoryReleased"),
        order_id=message.order_id,
        metadata=caused_by(message, CONTEXT),
        items=items,
        released_at=at,
        request_id=message.request_id,
        reservation_id=reservation_id_of(message.order_id),
    )
