"""The shadow step: before a revision joins its group, it decides again what the running one has decided.

It reads a database that others write, and writes nothing. Beside the verdict it says what the revision reads and writes
and which topics and tables it has, so that whoever rolls it out knows whether there is a way back.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from orderflow.contracts import codec
from orderflow.contracts.registry import major_of
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept, differing_parts
from orderflow.runtime.schema import decisions
from orderflow.runtime.statements import Statement

_NEWEST = Statement(
    select(*(decisions.c[name] for name in ("event_id", "message", "state", "shared", "decision", "revision")))
    .where(decisions.c.group == bindparam("context"))
    .order_by(decisions.c.id.desc())
    .limit(bindparam("sample"))
)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision says of itself.

    Attributes:
        reads, writes: states and messages to itself with the major versions that it knows and leaves behind.
        topology: equal for revisions that may share a consumer group.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    topology: str


class Shadowed(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; ``fault`` is empty where every decision was the same, or differs as it is meant to."""

    compared: int
    fault: str
    declaration: Declared


def shadowed(
    connection: Connection, context: Context[Any], sample: int, meant: Mapping[str, Sequence[str]]
) -> Shadowed:
    """Decide the newest recorded decisions again.

    Args:
        sample: how many at the most.
        meant: by message type, the parts of a decision that may differ; no parts are all of them.
    """
    compared, faults, example = 0, 0, ""
    wanted = {"context": context.name, "sample": sample}
    for event_id, message, state, shared, decision, revision in _NEWEST.rows(connection, wanted):
        compared += 1
        kind = codec.identify(bytes(message)).event_type or ""
        parts, why = differing_parts(context, Kept(bytes(message), state, bytes(shared), bytes(decision)))
        if not why or (parts and kind in meant and set(parts) <= set(meant[kind] or parts)):
            continue
        faults += 1
        example = example or f"{kind} {event_id}, recorded by {revision}, {why}"
    fault = f"{faults} of {compared} recorded decisions: {example}" if faults else ""
    return Shadowed(compared=compared, fault=fault, declaration=declared(context))


def declared(context: Context[Any]) -> Declared:
    """Return what this code says of itself."""
    state = f"{context.name}-state/{context.aggregate.state_version}"
    own = context.takes.get(context.command_topic, frozenset())
    names = sorted({state, *(f"{kind.__name__}/{major_of(kind.VERSION)}" for kind in own)})
    shape = [*sorted(context.takes), *sorted(context.tables.tables)]
    return Declared(
        reads=tuple(names), writes=tuple(names), topology=hashlib.sha256("\n".join(shape).encode()).hexdigest()[:12]
    )
