"""The check that decisions replay: what was recorded as input is decided again by today's code."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from orderflow.contracts import codec
from orderflow.runtime.context import Context
from orderflow.runtime.recorder import encode_decision
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
        fault = _fault(context, bytes(message), state, bytes(shared), bytes(decision))
        name = codec.identify(bytes(message)).event_type or "" if fault else ""
        yield key, name, f"{name} {event_id} of {context.name}, recorded by {revision}, {fault}" if fault else ""


def _fault(context: Context[Any], message: bytes, state: bytes | None, shared: bytes, recorded: bytes) -> str:
    try:
        before = None if state is None else context.aggregate.decode(state)
        decoded = codec.decode(message)
        visible = _shared(context, shared)
    except (msgspec.MsgspecError, codec.Unreadable) as error:
        return f"has an input that cannot be read ({type(error).__name__})"
    try:
        again = encode_decision(context.decide(before, visible, decoded))
    except Exception as error:  # whatever a decision raises now, it did not raise then
        return f"is not decided any more ({type(error).__name__})"
    return "" if again == recorded else f"is decided differently now, in {', '.join(_differing(again, recorded))}"


def _shared(context: Context[Any], shared: bytes) -> dict[str, Any]:
    if context.shared is None:
        return {}
    kind = context.shared.rows.type
    return msgspec.json.decode(shared, type=dict[str, kind])  # type: ignore[valid-type]


def _differing(again: bytes, recorded: bytes) -> list[str]:
    """Return the parts of a decision in which the two differ: their names alone, their content may be personal."""
    now, then = (msgspec.json.decode(decision, type=dict[str, msgspec.Raw]) for decision in (again, recorded))
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name)) or ["form"]
