"""Bringing the stock into line with the products that a resource declares.

Declarative and safe to run by several replicas at once: whoever comes second finds nothing left to do.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from orderflow.contexts.inventory import stock
from orderflow.contexts.inventory.state import StockLevel
from orderflow.contexts.inventory.tables import STOCK
from orderflow.contracts.envelope import Metadata
from orderflow.contracts.events import ProductChanged
from orderflow.runtime.rows import Versioned
from orderflow.runtime.statements import Statement
from orderflow.spec.products import Product

_INSERT = {
    name: Statement(insert(STOCK.table).on_conflict_do_nothing().returning(STOCK.table.c[STOCK.key]))
    for name, insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


def seed_products(connection: Connection, products: Sequence[Product], at: datetime) -> tuple[ProductChanged, ...]:
    """Insert products that are not there yet, restock those of which more is declared now, apply names and prices.

    Returns the messages that announce what has changed, for the outbox of the same transaction. A product that is
    declared no more, or with fewer pieces than there have been, stays as it is.
    """
    # In the order of their keys, as the processors lock them: no two of them wait for each other.
    levels = [_seed(connection, product, at) for product in sorted(products, key=lambda product: product.id)]
    return tuple(stock.announcement(level, Metadata(source="inventory")) for level in levels if level)


def _seed(connection: Connection, product: Product, at: datetime) -> StockLevel | None:
    """Return the product's level if this changed it."""
    fresh = stock.opened(product.id, product.name, product.price, product.stock, at)
    # The insert comes first: on SQLite it takes the write lock before anything is read, on PostgreSQL it waits for
    # another replica's insert of the same product to commit.
    if _inserted(connection, fresh):
        return fresh
    row = STOCK.load(connection, [product.id], lock=True)[product.id]
    level = stock.redeclared(row.state, product.name, product.price, product.stock, at)
    if level is row.state:
        return None
    STOCK.update(connection, {product.id: Versioned(row.version + 1, level)})
    return level


def _inserted(connection: Connection, level: StockLevel) -> bool:
    values = {
        **STOCK.columns(level),
        STOCK.key: level.product_id,
        "version": 1,
        "state_version": STOCK.state_version,
        "data": STOCK.encode(level).decode(),
    }
    # Drivers do not agree on the row count of an insert; what it returns is there or not.
    return bool(_INSERT[connection.dialect.name].rows(connection, values))
