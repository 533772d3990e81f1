"""How orders are kept, prepared and shown."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Connection, Engine, MetaData, select
from sqlalchemy.exc import IntegrityError

from orderflow.contexts.order import order_context, reads
from orderflow.contexts.order.state import Order
from orderflow.contexts.order.tables import ORDERS, catalogue, idempotency_keys, metadata, orders
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.decision import Refused
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderShipmentFailed, OrderShipped
from orderflow.contracts.items import Customer, RequestedItem
from orderflow.contracts.topics import TOPIC_OF
from orderflow.runtime.rows import Versioned
from orderflow.saga.flow import FlowBook, Plan

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
CONTEXT = order_context(FlowBook(tenants={"acme": "ship-only"}))


@pytest.fixture
def connection(database: Callable[[MetaData], Engine]) -> Iterator[Connection]:
    with database(metadata).begin() as connection:
        connection.execute(
            catalogue.insert(),
            [
                {
                    "product_id": product_id,
                    "name": name,
                    "price": Decimal(price),
                    "available": 5,
                    "version": 1,
                    "changed_at": NOON,
                }
                for product_id, name, price in [("sku-2", "Desk", "120.00"), ("sku-1", "Lamp", "9.90")]
            ],
        )
        yield connection


def create(order_id: str = "order-1", minute: int = 0, **fields: object) -> CreateOrder:
    known: dict[str, object] = {
        "event_id": f"create-{order_id}",
        "order_id": order_id,
        "customer_id": "customer-1",
        "customer": Customer(customer_id="customer-1", name="Ada Lovelace"),
        "items": (RequestedItem(product_id="sku-1", quantity=2),),
        "requested_at": NOON + timedelta(minutes=minute),
    }
    return CreateOrder(**known | fields)  # type: ignore[arg-type]


def prepared(connection: Connection, message: Message) -> Message:
    assert CONTEXT.prepare is not None
    return CONTEXT.prepare(connection, message)


def place(connection: Connection, *messages: Message) -> Order:
    """Decide the messages one after the other and keep the order, as the unit of work does."""
    state: Order | None = None
    for message in messages:
        state = CONTEXT.decide(state, {}, prepared(connection, message)).state
    assert state is not None
    ORDERS.insert(connection, {state.order_id: Versioned(1, state)})
    return state


def test_what_is_kept_of_an_order_is_read_back_byte_for_byte(connection: Connection) -> None:
    order = place(connection, create())
    row = ORDERS.load(connection, ["order-1"], lock=True)["order-1"]
    assert row.state == order
    assert ORDERS.encode(row.state) == ORDERS.encode(order)


def test_an_orders_columns_show_what_queries_need(connection: Connection) -> None:
    shipped = OrderShipped(
        event_id="s", order_id="order-1", shipment_id="s", carrier="DHL", tracking_number="T", shipped_at=NOON
    )
    place(connection, create(flow="ship-only"), shipped)
    row = connection.execute(select(orders)).mappings().one()
    assert (row["status"], row["canonical"], row["phase"]) == ("Shipped", "COMPLETED", "completed")
    assert (row["flow"], row["customer_id"], row["total"]) == ("ship-only", "customer-1", Decimal("19.80"))
    assert (row["carrier"], row["tracking_number"], row["created_at"]) == ("DHL", "T", NOON)


def test_items_without_a_price_take_the_catalogues_and_others_keep_theirs(connection: Connection) -> None:
    items = (
        RequestedItem(product_id="sku-1", quantity=1),
        RequestedItem(product_id="sku-2", quantity=1, price=Decimal("100.00")),
        RequestedItem(product_id="sku-9", quantity=1),
    )
    message = prepared(connection, create(items=items))
    assert isinstance(message, CreateOrder)
    assert [item.price for item in message.items] == [Decimal("9.90"), Decimal("100.00"), None]
    with pytest.raises(Refused) as refused:
        CONTEXT.decide(None, {}, message)
    assert refused.value.field == "items[2].productId"


def test_the_plan_is_chosen_here_whatever_the_sender_says(connection: Connection) -> None:
    message = prepared(connection, create(tenant="acme", plan=msgspec.Raw(b'{"name": "mine"}')))
    assert isinstance(message, CreateOrder)
    assert isinstance(message.plan, msgspec.Raw)
    assert msgspec.json.decode(message.plan, type=Plan).name == "ship-only"
    with pytest.raises(Refused, match="no flow 'overnight'"):
        prepared(connection, create(flow="overnight"))


def test_other_messages_need_no_preparation(connection: Connection) -> None:
    message = ChangeOrderStatus(event_id="e", order_id="o", status="Cancelled", requested_at=NOON)
    assert prepared(connection, message) is message


def test_the_context_takes_each_message_from_the_topic_it_is_sent_to() -> None:
    for topic, kinds in CONTEXT.takes.items():
        assert {TOPIC_OF[kind] for kind in kinds} == {topic}
    assert CONTEXT.command_topic in CONTEXT.takes
    assert not CONTEXT.parks


def test_an_end_is_told_of_with_its_flow_and_outcome(connection: Connection) -> None:
    order = place(connection, create(flow="ship-only"))
    assert CONTEXT.ended(order) is None
    assert CONTEXT.is_live(order)
    failure = OrderShipmentFailed(event_id="f", order_id="order-1", shipment_id="s", error_message="no", failed_at=NOON)
    ended = CONTEXT.ended(msgspec.convert(CONTEXT.decide(order, {}, failure).state, type=Order))
    assert ended is not None
    assert (ended.flow, ended.outcome, ended.started_at) == ("ship-only", "failed", NOON)


def test_one_principals_key_is_kept_once(connection: Connection) -> None:
    key = {"key": "k", "request_hash": "h", "created_at": NOON, "expires_at": NOON + timedelta(days=1)}
    connection.execute(idempotency_keys.insert(), [{"principal": "a", **key}, {"principal": "b", **key}])
    with pytest.raises(IntegrityError):
        connection.execute(idempotency_keys.insert(), {"principal": "a", **key})


# Reads


def test_an_order_is_shown_as_the_api_shows_it(connection: Connection) -> None:
    place(connection, create())
    assert reads.order(connection, "order-2") is None
    shown = reads.order(connection, "order-1")
    assert msgspec.json.decode(msgspec.json.encode(shown)) == {
        "orderId": "order-1",
        "status": "Pending",
        "flow": "order-to-delivery",
        "customerId": "customer-1",
        "customerName": "Ada Lovelace",
        "items": [{"productId": "sku-1", "quantity": 2, "price": "9.90"}],
        "total": "19.80",
        "createdAt": "2025-03-01T12:00:00Z",
        "updatedAt": "2025-03-01T12:00:00Z",
        "fulfillment": {"carrier": None, "trackingNumber": None, "shippedAt": None, "errorMessage": None},
        "cancellationReason": None,
    }


def ids(page: reads.OrderPage) -> list[str]:
    return [order.order_id for order in page.orders]


def test_pages_lead_through_all_orders_the_newest_first(connection: Connection) -> None:
    for number in range(5):
        place(connection, create(f"order-{number}", minute=number // 2))
    pages, cursor = [], None
    while True:
        page = reads.order_page(connection, limit=2, cursor=cursor)
        pages.append(ids(page))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["order-4", "order-3"], ["order-2", "order-1"], ["order-0"]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"status": "Pending"}, ["order-1"]),
        ({"status": "Created"}, ["b-100%"]),
        ({"customer_id": "customer-1"}, ["b-100%", "order-1"]),
        ({"customer_id": "customer-1", "status": "Created"}, ["b-100%"]),
        ({"q": "order"}, ["order-1"]),
        ({"q": "lovelace"}, ["b-100%", "order-1"]),
        ({"q": "SKU-2"}, ["b-100%"]),
        ({"q": "%"}, []),
        ({"q": "b-100%"}, ["b-100%"]),
        ({"q": "rder"}, []),
    ],
)
def test_orders_are_found_by_what_is_known_of_them(
    connection: Connection, wanted: dict[str, str], found: list[str]
) -> None:
    place(connection, create("order-1"))
    items = (RequestedItem(product_id="sku-2", quantity=1),)
    place(connection, create("b-100%", minute=1, flow="ship-only", items=items))
    assert ids(reads.order_page(connection, **wanted)) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense!",
        "é",
        "e30",
        *(
            base64.urlsafe_b64encode(place).decode()
            for place in (
                b'["2025-03-01T12:00:00", "o"]',
                b'["0001-01-01T00:00:00+10:00", "o"]',
                b'["2025-03-01T12:00:00Z", "\\u0000"]',
                b'["2025-03-01T12:00:00Z"]',
            )
        ),
    ],
)
def test_a_cursor_that_is_none_of_ours_is_refused(connection: Connection, cursor: str) -> None:
    with pytest.raises(Refused, match="take the cursor from the page before") as refused:
        reads.order_page(connection, cursor=cursor)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, 201])
def test_a_page_has_its_bounds(connection: Connection, limit: int) -> None:
    with pytest.raises(Refused, match="1 to 200 orders"):
        reads.order_page(connection, limit=limit)


def test_products_are_shown_from_the_catalogue(connection: Connection) -> None:
    assert [product.product_id for product in reads.products(connection).products] == ["sku-1", "sku-2"]
    lamp = reads.product(connection, "sku-1")
    assert msgspec.json.encode(lamp) == b'{"productId":"sku-1","name":"Lamp","price":"9.90","available":5}'
    assert reads.product(connection, "sku-9") is None
