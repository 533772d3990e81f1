"""How fulfillment is kept, and what it shows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, create_engine, select

from orderflow.contexts.fulfillment import FULFILLMENT, Shipment
from orderflow.contexts.fulfillment.reads import ROUTES
from orderflow.contexts.fulfillment.state import book_task_of, shipment_id_of
from orderflow.contexts.fulfillment.tables import SHIPMENTS, metadata, shipments
from orderflow.contracts.commands import OrderFulfillmentRequested
from orderflow.contracts.decision import Append
from orderflow.contracts.envelope import Message
from orderflow.contracts.items import Customer, Item
from orderflow.contracts.outcomes import CarrierAnswered
from orderflow.runtime.rows import Versioned

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
SHIPMENT = shipment_id_of(ORDER)
REQUEST = OrderFulfillmentRequested(
    event_id="a",
    order_id=ORDER,
    request_id="ship-1",
    items=(Item(product_id="mug", quantity=2),),
    customer=Customer(customer_id="customer-1", name="Ada Lovelace"),
    requested_at=NOON,
)
ANSWER = CarrierAnswered(
    event_id="b",
    order_id=ORDER,
    task_id=book_task_of(SHIPMENT),
    shipment_id=SHIPMENT,
    operation="book",
    status="shipped",
    answered_at=NOON + timedelta(seconds=2),
    carrier="Swift Parcel",
    tracking_number="SWP-1",
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def record(connection: Connection, *messages: Message) -> Shipment:
    """Decide the messages and write what they leave behind, as the unit of work does."""
    state: Shipment | None = None
    for version, message in enumerate(messages, start=1):
        decision = FULFILLMENT.decide(state, {}, message)
        state = decision.state
        assert state is not None
        write = SHIPMENTS.insert if version == 1 else SHIPMENTS.update
        write(connection, {ORDER: Versioned(version, state)})
        for row in decision.writes:
            assert isinstance(row, Append)
            connection.execute(metadata.tables[row.table].insert(), row.values)
    assert state is not None
    return state


def as_json(view: object) -> dict[str, object]:
    shown: dict[str, object] = msgspec.json.decode(msgspec.json.encode(view))
    return shown


def test_a_state_comes_back_as_it_was_written(connection: Connection) -> None:
    state = record(connection, REQUEST, ANSWER)
    assert SHIPMENTS.load(connection, [ORDER], lock=True) == {ORDER: Versioned(2, state)}


def test_the_columns_show_what_the_state_says(connection: Connection) -> None:
    record(connection, REQUEST, ANSWER)
    columns = shipments.c
    row = connection.execute(
        select(columns.shipment_id, columns.status, columns.carrier, columns.tracking_number, columns.settled_at)
    ).one()
    assert tuple(row) == (SHIPMENT, "shipped", "Swift Parcel", "SWP-1", ANSWER.answered_at)


def test_a_shipment_is_shown_with_the_carriers_answers(connection: Connection) -> None:
    record(connection, REQUEST, ANSWER)
    shown = as_json(ROUTES["/shipments/{orderId}"](connection, {"orderId": ORDER}))
    assert shown == {
        "orderId": ORDER,
        "shipmentId": SHIPMENT,
        "status": "shipped",
        "carrier": "Swift Parcel",
        "trackingNumber": "SWP-1",
        "shippedAt": "2025-03-01T12:00:02Z",
        "errorMessage": None,
        "attempts": [
            {"operation": "book", "status": "shipped", "errorMessage": None, "at": "2025-03-01T12:00:02Z"},
        ],
    }


def test_goods_that_have_not_left_have_no_time_of_leaving(connection: Connection) -> None:
    record(connection, REQUEST, msgspec.structs.replace(ANSWER, status="rejected", carrier=None, tracking_number=None))
    shown = as_json(ROUTES["/shipments/{orderId}"](connection, {"orderId": ORDER}))
    assert (shown["status"], shown["shippedAt"]) == ("failed", None)


def test_an_unknown_order_has_no_shipment_to_show(connection: Connection) -> None:
    assert ROUTES["/shipments/{orderId}"](connection, {"orderId": "nobody's"}) is None
