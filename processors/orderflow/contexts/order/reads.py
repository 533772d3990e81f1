"""What the order context shows of itself. The order API reads this database alone, through these functions."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from orderflow.contexts.order.state import Order
from orderflow.contexts.order.tables import ORDERS, catalogue, orders
from orderflow.contracts.decision import Refused
from orderflow.contracts.items import FulfillmentDetails, PricedItem

LARGEST_PAGE = 200


class _View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class FulfillmentView(_View, frozen=True, kw_only=True):
    """The shipment, as far as it is known."""

    carrier: str | None
    tracking_number: str | None
    shipped_at: str | None
    error_message: str | None


class OrderView(_View, frozen=True, kw_only=True):
    """An order as the API shows it; ``status`` is in the words of its flow."""

    order_id: str
    status: str
    flow: str
    customer_id: str
    customer_name: str
    items: tuple[PricedItem, ...]
    total: Decimal
    created_at: datetime
    updated_at: datetime
    fulfillment: FulfillmentView
    cancellation_reason: str | None


class OrderPage(_View, frozen=True, kw_only=True):
    """Some orders, the newest first; ``next_cursor`` leads on, and is empty on the last page."""

    orders: tuple[OrderView, ...]
    next_cursor: str | None


class ProductView(_View, frozen=True, kw_only=True):
    """A product as the catalogue knows it."""

    product_id: str
    name: str
    price: Decimal
    available: int


class ProductList(_View, frozen=True, kw_only=True):
    """Every product, by id."""

    products: tuple[ProductView, ...]


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: what the cursor, opaque to clients, stands for."""

    created_at: datetime
    order_id: str


def order(connection: Connection, order_id: str) -> OrderView | None:
    """Return the order, or ``None`` if there is none."""
    row = ORDERS.load(connection, [order_id], lock=False).get(order_id)
    return view_of(row.state) if row else None


def order_page(
    connection: Connection,
    *,
    status: str | None = None,
    customer_id: str | None = None,
    q: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> OrderPage:
    """Return the orders that fit all of what is given, the newest first.

    Args:
        status: in the words of the orders' flows.
        q: how the order's id begins, or a part of the customer's name or of a product's id, in any case.
        cursor: ``next_cursor`` of the page before.
        limit: orders per page, from 1 to :data:`LARGEST_PAGE`.

    Raises:
        Refused: the cursor is none of ours, or the limit is none.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        raise Refused("limit", f"a page has 1 to {LARGEST_PAGE} orders, got {limit}")
    at = orders.c
    wanted: list[ColumnElement[bool]] = []
    if status:
        wanted.append(at.status == status)
    if customer_id:
        wanted.append(at.customer_id == customer_id)
    if q:
        wanted.append(_matches(q))
    if cursor:
        wanted.append(_after(_read_cursor(cursor)))
    query = select(at.order_id).where(*wanted).order_by(at.created_at.desc(), at.order_id.desc()).limit(limit + 1)
    return _page(connection, connection.execute(query).scalars().all(), limit)


def products(connection: Connection) -> ProductList:
    """Return every product in the catalogue."""
    rows = connection.execute(select(*_PRODUCT).order_by(catalogue.c.product_id)).mappings()
    return ProductList(products=tuple(ProductView(**row) for row in rows))


def product(connection: Connection, product_id: str) -> ProductView | None:
    """Return the product, or ``None`` if the catalogue has none of that id."""
    row = connection.execute(select(*_PRODUCT).where(catalogue.c.product_id == product_id)).mappings().first()
    return ProductView(**row) if row else None


_PRODUCT = (catalogue.c.product_id, catalogue.c.name, catalogue.c.price, catalogue.c.available)


def _page(connection: Connection, ids: Sequence[str], limit: int) -> OrderPage:
    shown = ids[:limit]
    rows = ORDERS.load(connection, shown, lock=False)
    states = [rows[order_id].state for order_id in shown]
    more = len(ids) > limit
    return OrderPage(
        orders=tuple(view_of(state) for state in states), next_cursor=_cursor_of(states[-1]) if more else None
    )


def _matches(q: str) -> ColumnElement[bool]:
    at = orders.c
    return or_(
        at.order_id.istartswith(q, autoescape=True),
        at.customer_name.icontains(q, autoescape=True),
        at.product_ids.icontains(q, autoescape=True),
    )


def _after(place: _Place) -> ColumnElement[bool]:
    at = orders.c
    same_moment = and_(at.created_at == place.created_at, at.order_id < place.order_id)
    return or_(at.created_at < place.created_at, same_moment)


def _cursor_of(state: Order) -> str:
    place = msgspec.json.encode(_Place(state.created_at, state.order_id))
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _read_cursor(cursor: str) -> _Place:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=_Place)
        # What a client has made up must not reach the database: a moment there has an offset, a text no U+0000.
        if place.created_at.utcoffset() is None or "\0" in place.order_id:
            raise ValueError(cursor)
        return _Place(place.created_at.astimezone(UTC), place.order_id)
    except (binascii.Error, ValueError, OverflowError):
        raise Refused("cursor", "take the cursor from the page before, as it is") from None


def view_of(state: Order) -> OrderView:
    """Return what is shown of an order in this state."""
    return OrderView(
        order_id=state.order_id,
        status=state.word,
        flow=state.flow,
        customer_id=state.customer.customer_id,
        customer_name=state.customer.name,
        items=state.items,
        total=state.total,
        created_at=state.created_at,
        updated_at=state.updated_at,
        fulfillment=_fulfillment_view(state.fulfillment),
        cancellation_reason=state.saga.reason or None,
    )


def _fulfillment_view(details: FulfillmentDetails) -> FulfillmentView:
    return FulfillmentView(**msgspec.structs.asdict(details))
