"""What fulfillment shows of itself."""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from orderflow.contexts.fulfillment.tables import SHIPMENTS, shipment_attempts


class AttemptView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One definitive answer of the carrier's, to a ``book`` or a ``cancel``."""

    operation: str
    status: str
    error_message: str | None
    at: datetime


class ShipmentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One order's shipment, with the carrier's answers in the order they came."""

    order_id: str
    shipment_id: str
    status: str
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    error_message: str | None
    attempts: tuple[AttemptView, ...]


def shipment(connection: Connection, parameters: Mapping[str, str]) -> ShipmentView | None:
    """Return the shipment of ``orderId``, or ``None`` if there is none."""
    order_id = parameters["orderId"]
    row = SHIPMENTS.load(connection, [order_id], lock=False).get(order_id)
    if row is None:
        return None
    state = row.state
    return ShipmentView(
        order_id=order_id,
        shipment_id=state.shipment_id,
        status=state.status,
        carrier=state.carrier,
        tracking_number=state.tracking_number,
        shipped_at=state.shipped_at,
        error_message=state.error,
        attempts=_attempts(connection, state.shipment_id),
    )


def _attempts(connection: Connection, shipment_id: str) -> tuple[AttemptView, ...]:
    at = shipment_attempts.c
    query = (
        select(at.operation, at.status, at.error.label("error_message"), at.at)
        .where(at.shipment_id == shipment_id)
        .order_by(at.at, at.operation)
    )
    return tuple(AttemptView(**row) for row in connection.execute(query).mappings())


ROUTES: Mapping[str, Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]] = {
    "/shipments/{orderId}": shipment,
}
