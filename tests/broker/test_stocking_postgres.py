"""What seeding the stock promises, on PostgreSQL; ``tests/unit/contexts/inventory`` asks it of SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier

import pytest
from sqlalchemy import Engine

from orderflow.contexts.inventory.stocking import seed_products
from orderflow.contexts.inventory.tables import STOCK, metadata
from orderflow.contracts.events import ProductChanged
from orderflow.runtime.database import open_database
from orderflow.spec.products import Product

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def product(name: str, stock: int) -> Product:
    return Product(id=name, name=name.title(), price=Decimal("7.50"), stock=stock)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_database(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def start_at_once(engine: Engine, declared: list[list[Product]]) -> list[tuple[str, int, int]]:
    """Seed from so many replicas at once; return what they announce: product, version, available."""
    together = Barrier(len(declared))

    def start(products: list[Product]) -> tuple[ProductChanged, ...]:
        together.wait()
        with engine.begin() as connection:
            return seed_products(connection, products, NOON)

    with ThreadPoolExecutor(len(declared)) as pool:
        told = [message for replica in pool.map(start, declared) for message in replica]
    return sorted((message.product_id, message.version, message.available) for message in told)


def test_several_replicas_that_start_at_once_seed_and_restock_each_product_once(engine: Engine) -> None:
    cup, jug = product("cup", 5), product("jug", 2)
    # Each replica names the products in another order: they are locked in one all the same.
    assert start_at_once(engine, [[cup, jug], [jug, cup]] * 2) == [("cup", 1, 5), ("jug", 1, 2)]
    assert start_at_once(engine, [[product("cup", 9), jug], [jug, product("cup", 9)]] * 2) == [("cup", 2, 9)]
    with engine.begin() as connection:
        level = STOCK.load(connection, ["cup"], lock=True)["cup"].state
    assert (level.available, level.initial, level.restocked) == (9, 5, 4)
