"""How inventory is kept, brought into line with the declared products, and shown."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier

import msgspec
import pytest
from sqlalchemy import Connection, Engine, MetaData, select

from orderflow.contexts.inventory import INVENTORY
from orderflow.contexts.inventory.reads import ROUTES, ProductList, ProductView, ReservationView
from orderflow.contexts.inventory.stocking import seed_products
from orderflow.contexts.inventory.tables import RESERVATIONS, STOCK, metadata, reservations, stock
from orderflow.contracts.commands import OrderInventoryRequested
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import ProductChanged
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item
from orderflow.runtime.rows import Versioned
from orderflow.spec.products import Product

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2025, 3, 2, 12, 0, tzinfo=UTC)
CUP = Product(id="cup", name="Cup", price=Decimal("7.50"), stock=5)
JUG = Product(id="jug", name="Jug", price=Decimal("19.00"), stock=0)


@pytest.fixture
def engine(database: Callable[[MetaData], Engine]) -> Engine:
    return database(metadata)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


def reserve(connection: Connection, order_id: str, quantity: int) -> None:
    """Decide a request and write what it decides, as the unit of work does."""
    request: Message = OrderInventoryRequested(
        event_id=order_id,
        order_id=order_id,
        request_id=order_id,
        items=(Item(product_id="cup", quantity=quantity),),
        requested_at=NOON,
    )
    rows = STOCK.load(connection, ["cup"], lock=True)
    decision = INVENTORY.decide(None, {key: row.state for key, row in rows.items()}, request)
    assert decision.state is not None
    RESERVATIONS.insert(connection, {order_id: Versioned(1, decision.state)})
    STOCK.update(connection, {key: Versioned(rows[key].version + 1, level) for key, level in decision.shared.items()})


def counts(connection: Connection, product_id: str) -> tuple[int, ...]:
    columns = stock.c
    query = select(columns.available, columns.reserved, columns.consumed, columns.initial, columns.restocked)
    return tuple(connection.execute(query.where(columns.product_id == product_id)).one())


def test_a_product_that_is_new_gets_its_initial_stock_and_is_announced(connection: Connection) -> None:
    told = seed_products(connection, [JUG, CUP], NOON)
    assert [(each.product_id, each.version, each.available) for each in told] == [("cup", 1, 5), ("jug", 1, 0)]
    assert [each.event_id for each in told] == [derive(name, "changed", "1") for name in ("cup", "jug")]
    assert told[0] == ProductChanged(
        event_id=derive("cup", "changed", "1"),
        metadata=told[0].metadata,
        product_id="cup",
        name="Cup",
        price=Decimal("7.50"),
        available=5,
        version=1,
        changed_at=NOON,
    )
    assert counts(connection, "cup") == (5, 0, 0, 5, 0)


def test_a_product_declared_as_before_changes_nothing(connection: Connection) -> None:
    seed_products(connection, [CUP], NOON)
    reserve(connection, "order-1", 2)
    assert seed_products(connection, [CUP], LATER) == ()
    assert counts(connection, "cup") == (3, 2, 0, 5, 0)


def test_more_stock_than_before_is_restocked_by_the_difference(connection: Connection) -> None:
    seed_products(connection, [CUP], NOON)
    reserve(connection, "order-1", 2)
    (told,) = seed_products(connection, [msgspec.structs.replace(CUP, stock=8)], LATER)
    assert (told.available, told.version, told.changed_at) == (6, 3, LATER)
    assert counts(connection, "cup") == (6, 2, 0, 5, 3)


def test_less_stock_than_before_takes_nothing_away(connection: Connection) -> None:
    seed_products(connection, [CUP], NOON)
    assert seed_products(connection, [msgspec.structs.replace(CUP, stock=1)], LATER) == ()
    assert counts(connection, "cup") == (5, 0, 0, 5, 0)


@pytest.mark.parametrize(
    "changed",
    [msgspec.structs.replace(CUP, name="Mug"), msgspec.structs.replace(CUP, price=Decimal("8.00"))],
    ids=["name", "price"],
)
def test_a_new_name_or_price_is_applied_and_announced(connection: Connection, changed: Product) -> None:
    seed_products(connection, [CUP], NOON)
    (told,) = seed_products(connection, [changed], LATER)
    assert (told.name, told.price, told.version) == (changed.name, changed.price, 2)
    assert STOCK.load(connection, ["cup"], lock=False)["cup"].version == 2


def test_a_product_declared_no_more_stays(connection: Connection) -> None:
    seed_products(connection, [CUP, JUG], NOON)
    assert seed_products(connection, [JUG], LATER) == ()
    assert counts(connection, "cup") == (5, 0, 0, 5, 0)


def test_several_replicas_that_start_at_once_seed_each_product_once(engine: Engine) -> None:
    for declared in ([CUP, JUG], [msgspec.structs.replace(CUP, stock=9), JUG]):
        together = Barrier(4)

        def start(together: Barrier = together, declared: list[Product] = declared) -> tuple[ProductChanged, ...]:
            together.wait()
            with engine.begin() as connection:
                return seed_products(connection, declared, NOON)

        with ThreadPoolExecutor(4) as pool:
            told = [message for replica in [pool.submit(start) for _ in range(4)] for message in replica.result()]
        assert sorted(message.product_id for message in told) == (["cup", "jug"] if declared[0] is CUP else ["cup"])
    with engine.begin() as connection:
        assert counts(connection, "cup") == (9, 0, 0, 5, 4)


def test_the_columns_of_a_reservation_show_what_its_state_says(connection: Connection) -> None:
    seed_products(connection, [CUP], NOON)
    reserve(connection, "order-1", 2)
    columns = reservations.c
    row = connection.execute(select(columns.reservation_id, columns.status, columns.expires_at)).one()
    state = RESERVATIONS.load(connection, ["order-1"], lock=False)["order-1"].state
    assert tuple(row) == (state.reservation_id, "reserved", state.expires_at)


def test_the_products_are_shown_with_their_stock(connection: Connection) -> None:
    seed_products(connection, [JUG, CUP], NOON)
    reserve(connection, "order-1", 2)
    shown = ROUTES["/products"](connection, {})
    assert isinstance(shown, ProductList)
    assert [(each.product_id, each.available, each.reserved) for each in shown.products] == [
        ("cup", 3, 2),
        ("jug", 0, 0),
    ]
    one = ROUTES["/products/{productId}"](connection, {"productId": "cup"})
    assert isinstance(one, ProductView)
    assert one == shown.products[0]
    assert msgspec.json.decode(msgspec.json.encode(one))["price"] == "7.50"
    assert ROUTES["/products/{productId}"](connection, {"productId": "unicorn"}) is None


@pytest.mark.parametrize(("quantity", "status", "failed"), [(2, "reserved", 0), (6, "failed", 1)])
def test_a_reservation_is_shown_whether_or_not_it_was_made(
    connection: Connection, quantity: int, status: str, failed: int
) -> None:
    seed_products(connection, [CUP], NOON)
    reserve(connection, "order-1", quantity)
    view = ROUTES["/reservations/{orderId}"](connection, {"orderId": "order-1"})
    assert isinstance(view, ReservationView)
    assert (view.status, len(view.failed_items), view.order_id) == (status, failed, "order-1")
    assert ROUTES["/reservations/{orderId}"](connection, {"orderId": "order-2"}) is None


def test_a_declared_product_is_read_as_strictly_as_a_message() -> None:
    read = msgspec.convert({"id": "cup", "name": "Cup", "price": 7.5, "stock": 5}, Product)
    assert read == CUP
    for wrong in ({"stock": -1}, {"price": "-1"}, {"price": "0.001"}, {"id": ""}, {"colour": "blue"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"id": "cup", "name": "Cup", "price": "7.50", "stock": 5} | wrong, Product)
