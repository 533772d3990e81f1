"""Analytics' own tables."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Numeric, String, Table, Text

from orderflow.contexts.analytics.figures import COUNTS
from orderflow.contexts.analytics.state import Journey, Window
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

KEY = String(200)
NAME = String(64)

journeys = Table(
    "journeys",
    metadata,
    Column("order_id", KEY, primary_key=True),
    *state_columns(),
)

windows = Table(
    "windows",
    metadata,
    Column("start", NAME, primary_key=True, comment="RFC 3339, UTC: their order is that of time"),
    *state_columns(),
    Column("closed", Boolean, nullable=False, comment="reported, and nothing has come since"),
    *(Column(name, BigInteger, nullable=False) for name in COUNTS),
    Column("revenue_cents", BigInteger, nullable=False, comment="cents, because SQLite adds up only integers exactly"),
    Column("refunded_cents", BigInteger, nullable=False),
    Column("completion_count", BigInteger, nullable=False),
    Column("completion_total_ms", BigInteger, nullable=False),
    Column("completion_max_ms", BigInteger, nullable=False),
)

business_events = Table(
    "business_events",
    metadata,
    Column("event_id", KEY, primary_key=True),
    Column("event_type", NAME, nullable=False),
    Column("order_id", KEY, nullable=False, index=True),
    Column("at", Moment, nullable=False, index=True, comment="the event's own time"),
    Column("amount", Numeric(12, 2), nullable=True),
    Column("attributes", Text, nullable=False, comment="JSON, without personal data"),
)


def _projected(window: Window) -> Mapping[str, Any]:
    figures = window.figures
    return {
        "closed": window.closed,
        **{name: getattr(figures, name) for name in COUNTS},
        "revenue_cents": int(figures.revenue * 100),
        "refunded_cents": int(figures.refunded * 100),
        "completion_count": figures.completion.count,
        "completion_total_ms": figures.completion.total_ms,
        "completion_max_ms": figures.completion.max_ms,
    }


JOURNEYS: Rows[Journey] = Rows(table=journeys, key="order_id", type=Journey)
WINDOWS: Rows[Window] = Rows(table=windows, key="start", type=Window, columns=_projected)
