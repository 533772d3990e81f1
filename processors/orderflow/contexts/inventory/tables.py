"""Inventory's own tables."""

from collections.abc import Mapping

from sqlalchemy import Column, Integer, MetaData, Numeric, String, Table, Text

from orderflow.contexts.inventory.state import Reservation, StockLevel
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

KEY = String(200)

stock = Table(
    "stock",
    metadata,
    Column("product_id", KEY, primary_key=True),
    *state_columns(),
    Column("name", Text, nullable=False),
    Column("price", Numeric(12, 2), nullable=False),
    Column("available", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("consumed", Integer, nullable=False),
    Column("initial", Integer, nullable=False),
    Column("restocked", Integer, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", KEY, primary_key=True),
    *state_columns(),
    Column("reservation_id", String(64), nullable=False),
    Column("status", String(64), nullable=False),
    Column("expires_at", Moment, nullable=True),
)


def _stock_projected(level: StockLevel) -> Mapping[str, object]:
    return {
        "name": level.name,
        "price": level.price,
        "available": level.available,
        "reserved": level.reserved,
        "consumed": level.consumed,
        "initial": level.initial,
        "restocked": level.restocked,
    }


def _reservation_projected(reservation: Reservation) -> Mapping[str, object]:
    return {
        "reservation_id": reservation.reservation_id,
        "status": reservation.status,
        "expires_at": reservation.expires_at,
    }


STOCK: Rows[StockLevel] = Rows(table=stock, key="product_id", type=StockLevel, columns=_stock_projected)
RESERVATIONS: Rows[Reservation] = Rows(
    table=reservations, key="order_id", type=Reservation, columns=_reservation_projected
)
