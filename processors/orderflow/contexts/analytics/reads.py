"""What analytics shows of itself."""

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec
from sqlalchemy import Connection, func, select

from orderflow.contexts.analytics.figures import COUNTS, Durations, Figures
from orderflow.contexts.analytics.state import WINDOW_SECONDS, Window
from orderflow.contexts.analytics.tables import WINDOWS, windows
from orderflow.contracts.decision import Refused
from orderflow.contracts.money import amount

WINDOWS_SHOWN = 60
MOST_WINDOWS = 1440
"""A day of minutes."""


class CompletionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Seconds from an order's creation to its completion; ``None`` where no order has been completed.

    ``p95`` is known of windows, and not of all time: that has no histogram.
    """

    mean: Decimal | None
    p95: Decimal | None
    max: Decimal | None


class FiguresView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What happened. ``failures`` are steps that failed; ``completion_rate`` is the share of the orders that ended."""

    orders: int
    completed: int
    cancelled: int
    completion_rate: Decimal | None
    payments: int
    payment_failures: int
    refunds: int
    reservations: int
    inventory_failures: int
    shipments: int
    shipment_failures: int
    failures: int
    revenue: Decimal
    refunded: Decimal
    completion_seconds: CompletionView


class WindowView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One window; ``closed`` once it was reported."""

    start: str
    closed: bool
    figures: FiguresView


class SummaryView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All time (``totals``), the windows shown taken together (``recent``), and each of them, the oldest first.

    A window lasts ``window_seconds``, a minute; one in which nothing happened does not appear.
    """

    totals: FiguresView
    recent: FiguresView
    window_seconds: int
    windows: tuple[WindowView, ...]


def summary(connection: Connection, parameters: Mapping[str, str]) -> SummaryView:
    """Return the figures, with the last ``windows`` windows (60 unless told otherwise).

    Raises:
        Refused: ``windows`` is no number from 1 to 1440.
    """
    shown = _latest(connection, _wanted(parameters.get("windows")))
    return SummaryView(
        totals=_view(_totals(connection)),
        recent=_view(sum((window.figures for window in shown), Figures())),
        window_seconds=WINDOW_SECONDS,
        windows=tuple(
            WindowView(start=window.start, closed=window.closed, figures=_view(window.figures)) for window in shown
        ),
    )


def _wanted(text: str | None) -> int:
    if text is None:
        return WINDOWS_SHOWN
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MOST_WINDOWS)) else 0
    if not 1 <= number <= MOST_WINDOWS:
        raise Refused("windows", f"how many windows to show is a number from 1 to {MOST_WINDOWS}")
    return number


def _latest(connection: Connection, number: int) -> list[Window]:
    """Return the last windows, the oldest first."""
    keys = connection.scalars(select(windows.c.start).order_by(windows.c.start.desc()).limit(number)).all()
    return [row.state for _, row in sorted(WINDOWS.load(connection, keys, lock=False).items())]


def _totals(connection: Connection) -> Figures:
    """Return the figures of all windows, added up by the database and so without a histogram."""
    summed = (*COUNTS, "revenue_cents", "refunded_cents", "completion_count", "completion_total_ms")
    query = select(
        *(func.coalesce(func.sum(windows.c[name]), 0).label(name) for name in summed),
        func.coalesce(func.max(windows.c.completion_max_ms), 0).label("completion_max_ms"),
    )
    total = {name: int(value) for name, value in connection.execute(query).mappings().one().items()}
    return Figures(
        **{name: total[name] for name in COUNTS},
        revenue=Decimal(total["revenue_cents"]).scaleb(-2),
        refunded=Decimal(total["refunded_cents"]).scaleb(-2),
        completion=Durations(
            count=total["completion_count"],
            total_ms=total["completion_total_ms"],
            max_ms=total["completion_max_ms"],
        ),
    )


def _view(figures: Figures) -> FiguresView:
    took = figures.completion
    return FiguresView(
        **{name: getattr(figures, name) for name in COUNTS},
        completion_rate=figures.completion_rate,
        failures=figures.failures,
        revenue=amount(figures.revenue),
        refunded=amount(figures.refunded),
        completion_seconds=CompletionView(mean=took.mean, p95=took.p95, max=took.longest),
    )


ROUTES: Mapping[str, Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]] = {
    "/summary": summary,
}
