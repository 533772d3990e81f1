"""What fulfillment answers, always from the shipment's state: the first reply and every repetition say the same.

Each takes the message that causes it, whose id the reply's own follows from, and the id of the request it answers.
"""

from datetime import datetime

from orderflow.contexts.fulfillment.state import Shipment
from orderflow.contracts.envelope import Message, caused_by
from orderflow.contracts.events import OrderShipmentFailed, OrderShipped, ShipmentCancelled
from orderflow.contracts.identity import derive

SOURCE = "fulfillment"
CALLED_OFF = "the shipment was cancelled"
REFUSED_BY_CARRIER = "the carrier refused the shipment"


def shipped(shipment: Shipment, cause: Message, request_id: str | None) -> OrderShipped:
    """Say that the goods have left; to a cancellation this means that it came too late."""
    return OrderShipped(
        event_id=derive(cause.event_id, "OrderShipped"),
        order_id=shipment.order_id,
        metadata=caused_by(cause, SOURCE),
        shipment_id=shipment.shipment_id,
        carrier=shipment.carrier or "",
        tracking_number=shipment.tracking_number or "",
        shipped_at=_since(shipment, cause),
        request_id=request_id,
    )


def failed(shipment: Shipment, cause: Message, request_id: str | None) -> OrderShipmentFailed:
    """Say that nothing has left and nothing will: the carrier refused it, or it was cancelled."""
    reason = CALLED_OFF if shipment.status == "cancelled" else REFUSED_BY_CARRIER
    return OrderShipmentFailed(
        event_id=derive(cause.event_id, "OrderShipmentFailed"),
        order_id=shipment.order_id,
        metadata=caused_by(cause, SOURCE),
        shipment_id=shipment.shipment_id,
        error_message=shipment.error or reason,
        failed_at=_since(shipment, cause),
        request_id=request_id,
    )


def cancelled(shipment: Shipment, cause: Message, request_id: str | None) -> ShipmentCancelled:
    """Say that the cancellation was in time."""
    return ShipmentCancelled(
        event_id=derive(cause.event_id, "ShipmentCancelled"),
        order_id=shipment.order_id,
        metadata=caused_by(cause, SOURCE),
        cancelled_at=_since(shipment, cause),
        request_id=request_id,
        shipment_id=shipment.shipment_id,
    )


def _since(shipment: Shipment, cause: Message) -> datetime:
    return shipment.settled_at or cause.occurred_at
