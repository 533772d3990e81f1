"""How analytics is kept, and what it shows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Connection, create_engine, select

from orderflow.contexts.analytics import ANALYTICS
from orderflow.contexts.analytics.figures import Figures, duration
from orderflow.contexts.analytics.reads import ROUTES, SummaryView
from orderflow.contexts.analytics.state import Journey, Window, window_of
from orderflow.contexts.analytics.tables import JOURNEYS, WINDOWS, business_events, metadata
from orderflow.contracts.decision import Append, Refused
from orderflow.contracts.events import PaymentSucceeded
from orderflow.runtime.rows import Versioned

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def window(minute: int, *, closed: bool = True) -> Window:
    figures = Figures(
        orders=10,
        completed=minute,
        cancelled=1,
        payments=9,
        payment_failures=1,
        revenue=Decimal("9999999999.99"),
        refunded=Decimal("0.10"),
        completion=sum((duration(100 * minute) for _ in range(minute)), duration(100)),
    )
    return Window(start=window_of(NOON + timedelta(minutes=minute)), figures=figures, closed=closed)


def keep(connection: Connection, *windows: Window) -> None:
    WINDOWS.insert(connection, {each.start: Versioned(1, each) for each in windows})


def summary(connection: Connection, **parameters: str) -> SummaryView:
    view = ROUTES["/summary"](connection, parameters)
    assert isinstance(view, SummaryView)
    return view


def test_states_come_back_as_they_were_written(connection: Connection) -> None:
    journey = Journey(order_id="order-1", created_at=NOON, flow="ship-only", counted=("OrderCreated",))
    JOURNEYS.insert(connection, {"order-1": Versioned(1, journey)})
    keep(connection, window(3))
    assert JOURNEYS.load(connection, ["order-1"], lock=True) == {"order-1": Versioned(1, journey)}
    assert WINDOWS.load(connection, [window(3).start], lock=True) == {window(3).start: Versioned(1, window(3))}


def test_an_event_is_kept_with_its_amount_to_the_cent(connection: Connection) -> None:
    event = PaymentSucceeded(
        event_id="a", order_id="order-1", payment_id="p", amount=Decimal("9999999999.99"), processed_at=NOON
    )
    (row,) = ANALYTICS.decide(None, {}, event).writes
    assert isinstance(row, Append)
    connection.execute(metadata.tables[row.table].insert(), row.values)
    columns = business_events.c
    assert tuple(connection.execute(select(columns.at, columns.amount)).one()) == (NOON, event.amount)


def test_the_totals_are_those_of_all_windows(connection: Connection) -> None:
    windows = [window(minute) for minute in range(5)]
    keep(connection, *windows)
    expected = sum((each.figures for each in windows), Figures())
    totals = summary(connection, windows="1").totals
    assert (totals.orders, totals.completed, totals.failures) == (50, 10, 5)
    assert (totals.revenue, totals.refunded) == (Decimal("49999999999.95"), Decimal("0.50"))
    assert totals.completion_rate == Decimal("0.667")
    assert (totals.completion_seconds.mean, totals.completion_seconds.max) == (
        expected.completion.mean,
        expected.completion.longest,
    )


def test_the_last_windows_are_shown_each_and_together(connection: Connection) -> None:
    keep(connection, *(window(minute, closed=minute < 4) for minute in range(5)))
    view = summary(connection, windows="2")
    assert [(each.start, each.closed) for each in view.windows] == [
        ("2025-03-01T12:03:00Z", True),
        ("2025-03-01T12:04:00Z", False),
    ]
    assert view.recent.orders == 20
    assert view.recent.completion_seconds.p95 == Decimal("0.400")
    assert view.window_seconds == 60


def test_sixty_windows_are_shown_unless_told_otherwise(connection: Connection) -> None:
    keep(connection, *(window(minute) for minute in range(61)))
    assert len(summary(connection).windows) == 60


def test_of_nothing_there_are_zeros_and_no_times(connection: Connection) -> None:
    shown = msgspec.json.decode(msgspec.json.encode(summary(connection)))
    assert shown["windows"] == []
    assert shown["totals"] == shown["recent"]
    assert (shown["totals"]["orders"], shown["totals"]["revenue"]) == (0, "0.00")
    assert shown["totals"]["completionRate"] is None
    assert shown["totals"]["completionSeconds"] == {"mean": None, "p95": None, "max": None}


@pytest.mark.parametrize(
    "number", ["0", "1441", "-1", "many", "", "²", "9" * 5000], ids=lambda number: number[:4] or "empty"
)
def test_a_number_of_windows_that_is_none_is_refused(connection: Connection, number: str) -> None:
    with pytest.raises(Refused, match="windows"):
        summary(connection, windows=number)
