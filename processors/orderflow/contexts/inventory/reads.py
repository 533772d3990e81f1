"""What inventory shows of itself."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from sqlalchemy import Connection, select

from orderflow.contexts.inventory.state import StockLevel
from orderflow.contexts.inventory.tables import RESERVATIONS, STOCK
from orderflow.contracts.items import Item, ShortItem


class ProductView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One product and what there is of it, in pieces."""

    product_id: str
    name: str
    price: Decimal
    available: int
    reserved: int
    consumed: int
    initial: int
    restocked: int
    version: int
    changed_at: datetime


class ProductList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Every product, by id."""

    products: tuple[ProductView, ...]


class ReservationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one order holds, held, or could not have."""

    order_id: str
    reservation_id: str
    status: str
    items: tuple[Item, ...]
    failed_items: tuple[ShortItem, ...]
    requested_at: datetime
    expires_at: datetime | None
    reviews: int
    released_at: datetime | None
    consumed_at: datetime | None


def products(connection: Connection, _parameters: Mapping[str, str]) -> ProductList:
    """Return every product there is."""
    ids = connection.execute(select(STOCK.table.c[STOCK.key])).scalars()
    rows = STOCK.load(connection, ids, lock=False)
    return ProductList(products=tuple(_product_view(row.state) for row in rows.values()))


def product(connection: Connection, parameters: Mapping[str, str]) -> ProductView | None:
    """Return the product ``productId``, or ``None`` if there is none."""
    product_id = parameters["productId"]
    row = STOCK.load(connection, [product_id], lock=False).get(product_id)
    return _product_view(row.state) if row else None


def reservation(connection: Connection, parameters: Mapping[str, str]) -> ReservationView | None:
    """Return the reservation of ``orderId``, or ``None`` if there is none."""
    order_id = parameters["orderId"]
    row = RESERVATIONS.load(connection, [order_id], lock=False).get(order_id)
    if row is None:
        return None
    state = row.state
    return ReservationView(
        order_id=order_id,
        reservation_id=state.reservation_id,
        status=state.status,
        items=state.items,
        failed_items=state.failed_items,
        requested_at=state.requested_at,
        expires_at=state.expires_at,
        reviews=state.review,
        released_at=state.released_at,
        consumed_at=state.consumed_at,
    )


def _product_view(level: StockLevel) -> ProductView:
    return ProductView(**msgspec.structs.asdict(level))


ROUTES: Mapping[str, Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]] = {
    "/products": products,
    "/products/{productId}": product,
    "/reservations/{orderId}": reservation,
}
