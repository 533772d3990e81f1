"""The check that decisions replay: what was recorded as input is decided again by today's code."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, select

from orderflow.contracts import codec
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept, difference
from orderflow.runtime.schema import decisions
from orderflow.verification.reading import Walk

_COLUMNS = ("key", "event_id", "message", "state", "shared", "decision", "revision")
_KEPT = Walk(
    select(*(decisions.c[name] for name in _COLUMNS)).where(decisions.c.group == bindparam("context")),
    decisions.c.key,
    decisions.c.id,
)


def replayed(connection: Connection, context: Context[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield, for every recorded decision, its key, its message's type, and what is wrong; with most it is nothing."""
    for key, event_id, message, state, shared, decision, revision in _KEPT.rows(connection, context=context.name):
        fault = difference(context, Kept(bytes(message), state, bytes(shared), bytes(decision)))
        name = codec.identify(bytes(message)).event_type or "" if fault else ""
        yield key, name, f"{name} {event_id} of {context.name}, recorded by {revision}, {fault}" if fault else ""
