"""How a stock level changes. Every change counts the version up and leaves no part below zero."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec

from orderflow.contexts.inventory.state import StockLevel
from orderflow.contracts.decision import Refused
from orderflow.contracts.envelope import Message, Metadata, caused_by
from orderflow.contracts.events import ProductChanged
from orderflow.contracts.fields import LARGEST_INTEGER
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item, ShortItem

Change = Callable[[StockLevel, int, datetime], StockLevel]


def opened(product_id: str, name: str, price: Decimal, pieces: int, at: datetime) -> StockLevel:
    """Return the first level of a product of which there are so many pieces."""
    return StockLevel(
        product_id=product_id,
        name=name,
        price=price,
        available=pieces,
        reserved=0,
        consumed=0,
        initial=pieces,
        restocked=0,
        version=1,
        changed_at=at,
    )


def redeclared(level: StockLevel, name: str, price: Decimal, pieces: int, at: datetime) -> StockLevel:
    """Return the level after a resource has declared the product anew; the same object where nothing differs.

    ``pieces`` counts all there have ever been: more than that is restocked, less takes nothing away, because pieces
    may be reserved or gone.
    """
    added = max(0, pieces - level.initial - level.restocked)
    if not added and (name, price) == (level.name, level.price):
        return level
    renamed = msgspec.structs.replace(level, name=name, price=price)
    return _changed(renamed, at, available=level.available + added, restocked=level.restocked + added)


def set_aside(level: StockLevel, quantity: int, at: datetime) -> StockLevel:
    """Return the level after an order has reserved ``quantity`` pieces."""
    return _changed(level, at, available=level.available - quantity, reserved=level.reserved + quantity)


def given_back(level: StockLevel, quantity: int, at: datetime) -> StockLevel:
    """Return the level after an order has released ``quantity`` reserved pieces."""
    return _changed(level, at, available=level.available + quantity, reserved=level.reserved - quantity)


def used_up(level: StockLevel, quantity: int, at: datetime) -> StockLevel:
    """Return the level after ``quantity`` reserved pieces have gone to a customer."""
    return _changed(level, at, reserved=level.reserved - quantity, consumed=level.consumed + quantity)


def short_of(levels: Mapping[str, StockLevel], wanted: Mapping[str, int]) -> tuple[ShortItem, ...]:
    """Return the products of which there are fewer pieces than wanted; of an unknown one there are none.

    Several items of one product can add up to more than a message can say: it then says as much as it can.
    """
    available = {product_id: levels[product_id].available if product_id in levels else 0 for product_id in wanted}
    return tuple(
        ShortItem(
            product_id=product_id,
            requested_quantity=min(quantity, LARGEST_INTEGER),
            available_quantity=available[product_id],
        )
        for product_id, quantity in wanted.items()
        if available[product_id] < quantity
    )


def changed(
    levels: Mapping[str, StockLevel], items: Iterable[Item], change: Change, at: datetime
) -> dict[str, StockLevel]:
    """Return the levels of ``items`` after ``change``, by product.

    Raises:
        Refused: a product has no level, or would have less than nothing.
    """
    after: dict[str, StockLevel] = {}
    for item in items:
        if item.product_id not in levels:
            raise Refused("productId", f"there is no stock of {item.product_id}", conflict=True)
        after[item.product_id] = change(levels[item.product_id], item.quantity, at)
    return after


def announcement(level: StockLevel, metadata: Metadata) -> ProductChanged:
    """Return what others are told of a level. One version, one message."""
    return ProductChanged(
        event_id=derive(level.product_id, "changed", str(level.version)),
        metadata=metadata,
        product_id=level.product_id,
        name=level.name,
        price=level.price,
        available=level.available,
        version=level.version,
        changed_at=level.changed_at,
    )


def announce(_product_id: str, level: StockLevel, cause: Message) -> ProductChanged:
    """Return what others are told of a level that ``cause`` has changed."""
    return announcement(level, caused_by(cause, "inventory"))


def _changed(level: StockLevel, at: datetime, **parts: int) -> StockLevel:
    for name, pieces in parts.items():
        if pieces < 0:
            raise Refused("quantity", f"{name} of {level.product_id} would be {pieces}", conflict=True)
    return msgspec.structs.replace(level, version=level.version + 1, changed_at=at, **parts)
