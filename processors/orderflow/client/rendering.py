"""Answers as text for people. Nothing is cut to the width of a terminal: what is printed may be piped."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from orderflow.client.answers import Entry, Order, Shipment, Timeline
from orderflow.client.figures import Quantiles, Report

ORDER_COLUMNS = ("ORDER", "STATUS", "FLOW", "CUSTOMER", "TOTAL", "CREATED")
ENTRY_COLUMNS = ("TIME", "CONTEXT", "TRANSITION", "CAUSE", "ATTEMPT")

_WIDTHS = (24, 12, 28, 26)
"""Of a transition's columns where the others are not known yet; enough for all that there are."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under their headings, every column as wide as its widest cell."""
    lines = [columns, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(aligned(line, widths) for line in lines)


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line; the last cell, and any without a width, is as wide as it is."""
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, *cells[len(padded) :]]).rstrip()


def moment(at: datetime) -> str:
    """Return a time in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def orders_table(orders: Sequence[Order]) -> str:
    """Return one line per order."""
    return table(
        ORDER_COLUMNS,
        [
            (order.order_id, order.status, order.flow, order.customer_id, str(order.total), moment(order.created_at))
            for order in orders
        ],
    )


def order_sheet(order: Order) -> str:
    """Return all that is known of an order, one thing per line."""
    return "\n".join(aligned(line, (8,)) for line in _facts(order))


def _facts(order: Order) -> Iterator[tuple[str, str]]:
    yield "order", order.order_id
    yield "status", order.status
    if order.cancellation_reason:
        yield "because", order.cancellation_reason
    yield "flow", order.flow
    yield "customer", f"{order.customer_id} ({order.customer_name})" if order.customer_name else order.customer_id
    for item in order.items:
        yield "item", f"{item.quantity} x {item.product_id} at {item.price}"
    yield "total", str(order.total)
    yield "created", moment(order.created_at)
    yield "updated", moment(order.updated_at)
    yield from _shipment(order.fulfillment)


def _shipment(shipment: Shipment) -> Iterator[tuple[str, str]]:
    if shipment.carrier:
        yield "carrier", shipment.carrier
    if shipment.tracking_number:
        yield "tracking", shipment.tracking_number
    if shipment.shipped_at:
        yield "shipped", shipment.shipped_at
    if shipment.error_message:
        yield "shipment", shipment.error_message


def timeline_table(timeline: Timeline) -> str:
    """Return one line per transition."""
    return table(ENTRY_COLUMNS, [_cells(entry) for entry in timeline.entries])


def entry_line(entry: Entry) -> str:
    """Return a transition as a line of its own, in line with any other's."""
    return aligned(_cells(entry), _WIDTHS)


def _cells(entry: Entry) -> tuple[str, ...]:
    transition = f"{entry.before} -> {entry.after}" if entry.before else entry.after
    attempt = str(entry.attempt) if entry.attempt else ""
    cause = f"{entry.cause.event_type}, by {entry.actor}" if entry.actor else entry.cause.event_type
    return moment(entry.recorded_at), entry.context, transition, cause, attempt


def report_text(report: Report) -> str:
    """Return a load's figures."""
    rates = (
        f"{report.accepted} of {report.orders} orders accepted in {report.seconds:g} s: "
        f"{report.rate_asked:g}/s asked, {report.rate_achieved:g}/s accepted, "
        f"{report.completed_per_second:g}/s completed"
    )
    rows = [_quantile_cells("acceptance", report.accept_ms), _quantile_cells("completion", report.complete_ms)]
    parts = [rates, table(("MILLISECONDS", "P50", "P95", "P99"), rows), *_outcomes(report)]
    if report.observed == "api":
        parts.append("No deployment of this system was found: ends were seen by asking the API, every half second.")
    return "\n\n".join(parts)


def _quantile_cells(name: str, quantiles: Quantiles | None) -> tuple[str, ...]:
    if quantiles is None:
        return name, "-", "-", "-"
    return name, f"{quantiles.p50:.1f}", f"{quantiles.p95:.1f}", f"{quantiles.p99:.1f}"


def _outcomes(report: Report) -> Iterator[str]:
    rows = [*report.outcomes.items()]
    if report.unfinished:
        rows.append(("(not ended)", report.unfinished))
    if rows:
        yield table(("OUTCOME", "ORDERS"), [(status, str(count)) for status, count in rows])
