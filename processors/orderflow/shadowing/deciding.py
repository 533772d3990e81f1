"""Deciding the newest recorded decisions again, and what is otherwise now."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from orderflow.contracts import codec
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept, difference
from orderflow.runtime.schema import decisions
from orderflow.shadowing.declaring import Declaration, declaration

Meant = Mapping[str, Collection[str]]
"""By message type, the parts of a decision on it that are meant to differ; none named: all."""

_COLUMNS = tuple(decisions.c[name] for name in ("event_id", "message", "state", "shared", "decision", "revision"))


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the shadow step has shown.

    Attributes:
        compared: how many decisions were made again.
        differing: how many of them came out otherwise than meant.
        fault: the newest of those in a sentence, and how many there are; empty if there is none.
    """

    context: str
    compared: int
    differing: int
    fault: str
    declaration: Declaration


def shadowed(connection: Connection, context: Context[Any], *, sample: int, meant: Meant) -> ShadowReport:
    """Return what ``context`` decides on the newest ``sample`` of its recorded decisions."""
    compared, faults = 0, []
    for fault in _faults(connection, context, sample, meant):
        compared += 1
        if fault:
            faults.append(fault)
    return ShadowReport(
        context=context.name,
        compared=compared,
        differing=len(faults),
        fault=f"{len(faults)} of {compared} decisions: {faults[0]}" if faults else "",
        declaration=declaration(context),
    )


def _faults(connection: Connection, context: Context[Any], sample: int, meant: Meant) -> Iterator[str]:
    """Yield for each decision, the newest first, what is wrong; with most it is nothing."""
    newest = select(*_COLUMNS).where(decisions.c.group == context.name).order_by(decisions.c.id.desc()).limit(sample)
    for event_id, message, state, shared, decision, revision in connection.execute(newest):
        kind = codec.identify(bytes(message)).event_type or ""
        kept = Kept(bytes(message), None if state is None else bytes(state), bytes(shared), bytes(decision))
        fault = difference(context, kept, meant.get(kind))
        yield f"{kind} {event_id}, recorded by {revision}, {fault}" if fault else ""


def meant_of(words: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return differences that are meant, from words like ``OrderCreated`` and ``OrderPaid=messages,tasks``."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        kind, _, parts = word.partition("=")
        found[kind] = tuple(part for part in parts.split(",") if part)
    return found
