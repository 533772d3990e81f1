"""How payment is kept, and what it shows."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Connection, Engine, MetaData, select
from sqlalchemy.exc import IntegrityError

from orderflow.contexts.payment import PAYMENT
from orderflow.contexts.payment.reads import ROUTES, PaymentView
from orderflow.contexts.payment.state import Payment, charge_task_of, payment_id_of
from orderflow.contexts.payment.tables import metadata, payments
from orderflow.contracts.commands import OrderPaymentRequested
from orderflow.contracts.decision import Append, Decision
from orderflow.contracts.outcomes import ChargeAnswered
from orderflow.runtime.rows import Versioned

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
LARGEST = Decimal("9999999999.99")
ORDER = "order-1"


@pytest.fixture
def engine(database: Callable[[MetaData], Engine]) -> Engine:
    return database(metadata)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


def record(connection: Connection, version: int, decision: Decision[Payment]) -> Payment:
    """Write a decision's state and ledger entries, as the unit of work does."""
    assert decision.state is not None
    write = PAYMENT.aggregate.insert if version == 1 else PAYMENT.aggregate.update
    write(connection, {ORDER: Versioned(version, decision.state)})
    for entry in decision.writes:
        assert isinstance(entry, Append)
        connection.execute(metadata.tables[entry.table].insert(), entry.values)
    return decision.state


def captured(connection: Connection) -> Decision[Payment]:
    request = OrderPaymentRequested(
        event_id="a", order_id=ORDER, request_id="pay-1", customer_id="c", amount=LARGEST, requested_at=NOON
    )
    payment_id = payment_id_of(ORDER)
    answer = ChargeAnswered(
        event_id="b",
        order_id=ORDER,
        task_id=charge_task_of(payment_id),
        payment_id=payment_id,
        status="succeeded",
        amount=LARGEST,
        answered_at=NOON,
        reference="ch_1",
    )
    charging = record(connection, 1, PAYMENT.decide(None, {}, request))
    decision = PAYMENT.decide(charging, {}, answer)
    record(connection, 2, decision)
    return decision


def test_a_state_comes_back_as_it_was_written(connection: Connection) -> None:
    state = captured(connection).state
    assert state is not None
    assert PAYMENT.aggregate.load(connection, [ORDER], lock=True) == {ORDER: Versioned(2, state)}


def test_the_columns_show_what_the_state_says(connection: Connection) -> None:
    captured(connection)
    columns = payments.c
    row = connection.execute(select(columns.status, columns.amount, columns.captured, columns.refunded)).one()
    assert tuple(row) == ("succeeded", LARGEST, LARGEST, Decimal("0.00"))


def test_a_capture_cannot_be_booked_twice(connection: Connection) -> None:
    entry = captured(connection).writes[0]
    assert isinstance(entry, Append)
    with pytest.raises(IntegrityError):
        connection.execute(metadata.tables[entry.table].insert(), {**entry.values, "event_id": "another"})


def test_the_payment_is_shown_with_its_ledger_entries(connection: Connection) -> None:
    captured(connection)
    view = ROUTES["/payments/{orderId}"](connection, {"orderId": ORDER})
    assert isinstance(view, PaymentView)
    shown = msgspec.json.decode(msgspec.json.encode(view))
    assert (shown["orderId"], shown["status"], shown["captured"]) == (ORDER, "succeeded", "9999999999.99")
    assert [(entry["account"], entry["debit"], entry["credit"]) for entry in shown["entries"]] == [
        ("customer-receipts", "0.00", "9999999999.99"),
        ("provider-clearing", "9999999999.99", "0.00"),
    ]


def test_an_unknown_order_has_no_payment_to_show(connection: Connection) -> None:
    assert ROUTES["/payments/{orderId}"](connection, {"orderId": "nobody's"}) is None
