"""Fulfillment's own tables."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, MetaData, String, Table, Text

from orderflow.contexts.fulfillment.state import Shipment
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

ID = String(64)
KEY = String(200)
NAME = String(64)

shipments = Table(
    "shipments",
    metadata,
    Column("order_id", KEY, primary_key=True),
    *state_columns(),
    Column("shipment_id", ID, nullable=False),
    Column("status", NAME, nullable=False),
    Column("carrier", Text, nullable=True),
    Column("tracking_number", Text, nullable=True),
    Column("settled_at", Moment, nullable=True, comment="when the status became final"),
)

shipment_attempts = Table(
    "shipment_attempts",
    metadata,
    Column("event_id", KEY, primary_key=True, comment="of the message with the carrier's answer"),
    Column("shipment_id", ID, nullable=False, index=True),
    Column("operation", NAME, nullable=False, comment="book or cancel"),
    Column("status", NAME, nullable=False, comment="shipped, rejected or cancelled"),
    Column("error", Text, nullable=True),
    Column("at", Moment, nullable=False),
)


def _projected(shipment: Shipment) -> Mapping[str, Any]:
    return {
        "shipment_id": shipment.shipment_id,
        "status": shipment.status,
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
        "settled_at": shipment.settled_at,
    }


SHIPMENTS: Rows[Shipment] = Rows(table=shipments, key="order_id", type=Shipment, columns=_projected)
