"""What a process says of itself: metrics for Prometheus and logs as JSON lines.

Log lines carry orderId, correlationId and traceId where there are any, and no personal data: nothing of a payload is
logged but identifiers, types, amounts of work and outcomes.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, cast

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from orderflow.contracts.decision import Call
from orderflow.runtime.context import Ended
from orderflow.runtime.letters import Standing
from orderflow.runtime.task_rows import StoredTimer

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SAGA = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}


class Telemetry:
    """The metrics of one process of one context."""

    def __init__(self, context: str, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        by = self.registry
        self.context = context
        self.processed = Counter(
            "orderflow_messages_processed", "Messages by type and outcome", ["message", "outcome"], registry=by
        )
        self.processing = Histogram(
            "orderflow_processing_seconds", "Time to record one batch", buckets=QUICK, registry=by
        )
        self.batch = Histogram("orderflow_batch_size", "Messages per transaction", buckets=SIZES, registry=by)
        self.lag = Gauge("orderflow_consumer_lag", "Messages not yet recorded", ["topic", "partition"], registry=by)
        self.outbox_depth = Gauge("orderflow_outbox_depth", "Messages not yet published", registry=by)
        self.outbox_age = Gauge("orderflow_outbox_oldest_seconds", "Age of the oldest unpublished message", registry=by)
        self.dead = Counter("orderflow_dead_letters", "Messages given up on", ["message", "cause"], registry=by)
        self.dead_open = Gauge("orderflow_dead_letters_open", "Dead letters that nobody has dealt with", registry=by)
        self.requests = Counter(
            "orderflow_dead_letter_requests",
            "Replays and discards carried out",
            ["action", "cause", "outcome", "by"],
            registry=by,
        )
        self.quarantined = Gauge(
            "orderflow_dead_letters_quarantined", "Open dead letters whose replay has failed too often", registry=by
        )
        self.judged = Gauge(
            "orderflow_dead_letters_judged",
            "Open dead letters of other revisions, by whose fault they are",
            ["revision", "fault"],
            registry=by,
        )
        self.parked = Gauge("orderflow_messages_parked", "Messages that wait behind a dead letter", registry=by)
        self.saga = Histogram(
            "orderflow_saga_seconds",
            "From an order's creation to its end",
            ["flow", "outcome"],
            buckets=SAGA,
            registry=by,
        )
        self.retries = Counter(
            "orderflow_retries", "Calls to be made again", ["provider", "operation", "why"], registry=by
        )
        self.breaker = Gauge("orderflow_breaker_state", "0 closed, 1 half-open, 2 open", ["provider"], registry=by)
        self.provider = Histogram(
            "orderflow_provider_seconds", "Time of one call", ["provider", "operation"], buckets=QUICK, registry=by
        )
        self.member = Gauge("orderflow_group_member", "1 while in the consumer group", registry=by)
        self.share = Gauge(
            "orderflow_partitions_allowed", "Partitions that the revision may have together; -1 is all", registry=by
        )
        self.assigned = Gauge("orderflow_partitions_assigned", "Partitions of the command topic", registry=by)
        self.rebalances = Counter("orderflow_rebalances", "Assignments of partitions", registry=by)
        self.rewinds = Counter("orderflow_rewinds", "Partitions read again", ["why"], registry=by)
        self.expired = Counter(
            "orderflow_expired_messages", "Messages gone before they were read", ["topic"], registry=by
        )
        self.paused = Gauge("orderflow_paused", "1 while the infrastructure is away", ["what"], registry=by)
        self.dropped = Counter("orderflow_rows_dropped", "Rows dropped after their time", ["table"], registry=by)
        self.replayed = Counter("orderflow_replayed_messages", "Messages read again", ["verdict"], registry=by)

    def letters_stand(self, standing: Standing) -> None:
        """Show what waits for somebody to look."""
        self.dead_open.set(standing.open)
        self.quarantined.set(standing.quarantined)
        self.parked.set(standing.parked)

    def batch_recorded(self, outcomes: Mapping[tuple[str, str], int], size: int, seconds: float) -> None:
        """Count one recorded batch."""
        for (message, outcome), number in outcomes.items():
            self.processed.labels(message, outcome).inc(number)
        self.processing.observe(seconds)
        self.batch.observe(size)

    def aggregate_ended(self, ended: Ended, seconds: float) -> None:
        """Count one order that has come to its end."""
        self.saga.labels(ended.flow, ended.outcome).observe(seconds)

    def provider_called(self, call: Call, seconds: float, breaker: str) -> None:
        """Count one call, however it ended."""
        self.provider.labels(call.provider, call.operation).observe(seconds)
        self.breaker.labels(call.provider).set(BREAKER_STATES[breaker])

    def retried(self, body: Call | StoredTimer, why: str) -> None:
        """Count one call that has to be made again."""
        if isinstance(body, Call):
            self.retries.labels(body.provider, body.operation, why).inc()


EACH = "each"
"""Under this name a log call has the lines that it stands for: a batch is told of at once, in a line per message."""


def _as_json(event: dict[str, Any], **_: Any) -> bytes:
    lines = event.pop(EACH, ({},))
    return b"\n".join([msgspec.json.encode({**event, **line}, enc_hook=repr) for line in lines])


class _Lines:
    """Where log lines go. One that cannot be written is lost, and with it nothing of the work that it tells of."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write a line, if the disk has room for it."""
        with suppress(OSError):
            self._stream.write(line)

    def flush(self) -> None:
        """Send what was written on its way, as far as there is room."""
        with suppress(OSError):
            self._stream.flush()


def configure_logging(service: str, level: str = "info") -> None:
    """Make every log line of this process, the libraries' too, one JSON object on standard output."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _name_service(service),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Lines(sys.stdout.buffer))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: _as_json(event).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The libraries tell of every connection and every rebalance step; what matters of it we say ourselves.
    root.setLevel(max(number, logging.WARNING))


def _name_service(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add
