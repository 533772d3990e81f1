"""What a process says of a batch it has recorded: a metric per message and outcome, a log line per decision."""

from collections import Counter
from datetime import datetime

import structlog

from orderflow.contracts.headers import trace_id_of
from orderflow.contracts.registry import TYPES
from orderflow.runtime import inbox
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.telemetry import EACH, Telemetry
from orderflow.runtime.unit_of_work import Done

log = structlog.get_logger(__name__)


def tell(telemetry: Telemetry, done: Done, *, size: int, seconds: float, now: datetime) -> None:
    """Tell of a transaction that recorded ``size`` messages within ``seconds``."""
    telemetry.batch_recorded(Counter((_kind(incoming), outcome) for incoming, outcome in done.outcomes), size, seconds)
    for incoming, outcome in done.outcomes:
        if outcome == inbox.DEAD:
            telemetry.dead.labels(_kind(incoming), incoming.cause or "undecidable").inc()
    decided = [_line(*one) for one in done.outcomes if one[1] not in {"passed-by", "duplicate"}]
    if decided:
        log.info("decided", **{EACH: decided})
    for ended in done.ended:
        telemetry.aggregate_ended(ended, (now - ended.started_at).total_seconds())


def _line(incoming: Incoming, outcome: str) -> dict[str, str | None]:
    message = incoming.message
    return {
        "event": outcome,
        "message": incoming.event_type,
        "orderId": message.order_id if message else incoming.key,
        "correlationId": message.metadata.correlation_id if message else "",
        "traceId": trace_id_of(incoming.traceparent) if incoming.traceparent else None,
        "eventId": incoming.event_id,
    }


def _kind(incoming: Incoming) -> str:
    """Return the type's name for a metric: of ours alone, for their number is known."""
    return incoming.event_type if incoming.event_type in TYPES else "?"
