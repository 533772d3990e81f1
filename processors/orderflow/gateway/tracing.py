"""Which trace and which story a request belongs to: W3C ``traceparent`` and ``X-Correlation-ID``.

Both are taken from the request where it brings them, passed on in what it causes, and returned with the answer.
"""

import os
import re
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from orderflow.contracts.headers import parse_traceparent

SCOPE_KEY = "orderflow.trace"

_CORRELATION = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(slots=True)
class Trace:
    """One request's place: its trace, its own span in it, and the story it tells (empty until somebody knows)."""

    trace_id: str
    span_id: str
    sampled: bool
    correlation_id: str

    @property
    def traceparent(self) -> str:
        """The header under which everything that this request causes continues the trace."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def begin(traceparent: str | None, correlation_id: str | None) -> Trace:
    """Return the trace that the headers continue, or a new one where they do not say or are no such headers."""
    parent = parse_traceparent(traceparent)
    correlation = correlation_id if correlation_id and _CORRELATION.fullmatch(correlation_id) else ""
    span_id = os.urandom(8).hex()
    if parent is None:
        return Trace(os.urandom(16).hex(), span_id, sampled=True, correlation_id=correlation)
    return Trace(parent.trace_id, span_id, parent.sampled, correlation)


def trace_of(request: HTTPConnection) -> Trace:
    """Return the trace that the middleware has begun for ``request``."""
    trace: Trace = request.scope[SCOPE_KEY]
    return trace
