"""What every API process tells of its requests: a trace, log lines that carry it, and seconds by route and status."""

import time
import traceback
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orderflow.gateway.problems import Problem, problem_response
from orderflow.gateway.tracing import SCOPE_KEY, Trace, begin

log = structlog.get_logger(__name__)

BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds: around the 30 ms within which an order is to be accepted, up to where a reader gives up."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """The metrics of one API process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.seconds = Histogram(
            "orderflow_http_seconds",
            "From a request's arrival to the end of its answer",
            ["route", "method", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    async def endpoint(self, request: Request) -> Response:
        """Answer with everything this process has counted, as Prometheus reads it."""
        del request
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Observed:
    """ASGI middleware around a whole application. What escapes the application becomes a 500 here, and is logged."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, observed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace = begin(headers.get("traceparent"), headers.get("x-correlation-id"))
        scope[SCOPE_KEY] = trace
        answer = _Answer(trace, send)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(traceId=trace.trace_id, **_story(trace)):
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:
                # Where, but not what: the text of a database error repeats what people have sent.
                stack = "".join(traceback.format_tb(error.__traceback__))
                log.error("request failed", route=_route(scope), error=type(error).__name__, stack=stack)
                if answer.status:
                    raise
                problem = Problem(500, "internal-error", "the failure is in our log under this answer's traceparent")
                await problem_response(problem, scope["path"])(scope, receive, answer.send)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else "other"
                seconds = time.perf_counter() - began
                self._metrics.seconds.labels(_route(scope), method, str(answer.status)).observe(seconds)


class _Answer:
    """Passes an answer on, with the request's trace in its headers, and remembers its status (0 before it has one)."""

    def __init__(self, trace: Trace, send: Send) -> None:
        self._trace = trace
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["traceparent"] = self._trace.traceparent
            if self._trace.correlation_id:
                headers["X-Correlation-ID"] = self._trace.correlation_id
        await self._send(message)


def _story(trace: Trace) -> dict[str, str]:
    return {"correlationId": trace.correlation_id} if trace.correlation_id else {}


def _route(scope: Scope) -> str:
    """Return the route's template, so that identifiers make no metrics of their own."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
