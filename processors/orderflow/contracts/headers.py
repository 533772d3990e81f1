"""The headers of a message's record: CloudEvents 1.0 in binary mode, and the W3C trace context.

A pure function of the message and the trace it continues: recorded with the message in the outbox and equal for ever.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import quote

from orderflow.contracts.envelope import Message
from orderflow.contracts.identity import derive
from orderflow.contracts.registry import contract_id

TRACEPARENT = "traceparent"
CONTENT_TYPE = "application/json"
NO_SOURCE = "unknown"
"""CloudEvents wants a source; metadata may name none."""


class TraceParent(NamedTuple):
    """Where in a trace something belongs: 32 and 16 lower-case hexadecimal digits, neither all zero."""

    trace_id: str
    parent_id: str
    sampled: bool


def headers_of(message: Message, traceparent: str | None) -> dict[str, str]:
    """Return the headers under which ``message`` is published.

    Args:
        message: what is published.
        traceparent: of the message or request that caused it; its trace goes on. An invalid one is ignored, and the
            trace is then that of the message's correlation id.
    """
    return {
        "content-type": CONTENT_TYPE,
        "ce_specversion": "1.0",
        "ce_id": message.event_id,
        "ce_type": message.event_type,
        "ce_source": _source(message.metadata.source),
        "ce_time": message.occurred_at.isoformat().replace("+00:00", "Z"),
        "ce_subject": message.key,
        "ce_dataschema": contract_id(type(message)),
        TRACEPARENT: _traceparent(message, parse_traceparent(traceparent)),
    }


@cache
def _source(name: str) -> str:
    return f"/orderflow/{quote(name or NO_SOURCE, safe='')}"


@lru_cache(1024)  # what a batch's messages, their decisions and their log lines ask for again
def parse_traceparent(text: str | None) -> TraceParent | None:
    """Return what a ``traceparent`` says, or ``None`` where it is absent or not valid (W3C Trace Context, 3.2.2).

    A version above 00 is read as far as 00 goes, as the recommendation asks of older readers.
    """
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None:
        return None
    version, trace_id, parent_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return TraceParent(trace_id, parent_id, sampled=bool(int(flags, 16) & 1))


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id of a valid ``traceparent``."""
    parsed = parse_traceparent(traceparent)
    return parsed.trace_id if parsed else None


_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def _traceparent(message: Message, parent: TraceParent | None) -> str:
    # UUIDs have a version digit, so neither id is ever all zero.
    span_id = _hexadecimal("span", message.event_id)[:16]
    if parent is not None:
        return f"00-{parent.trace_id}-{span_id}-{'01' if parent.sampled else '00'}"
    story = message.metadata.correlation_id or message.key or message.event_id
    return f"00-{_hexadecimal('trace', story)}-{span_id}-01"


def _hexadecimal(*parts: str) -> str:
    return derive(*parts).replace("-", "")
