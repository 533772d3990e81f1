"""What a context, as this code has it, reads and writes: enough to tell whether an older revision can take over again.

A revision that is taken back leaves states in the database and messages to itself on its own topic. Its predecessor has
to be able to read both. What it tells other contexts is bound by the contracts, which tests hold.
"""

import hashlib
from typing import Any

import msgspec

from orderflow.contracts.registry import major_of
from orderflow.runtime.context import Context
from orderflow.runtime.rows import Rows


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What the code declares.

    Attributes:
        reads, writes: names with versions: of the tables of states, and of message types.
        topology: equal for code that can share a consumer group: it reads the same topics and has the same tables.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    topology: str


def declaration(context: Context[Any]) -> Declaration:
    """Return what the context declares."""
    states = [_version(context.aggregate)]
    if context.shared is not None:
        states.append(_version(context.shared.rows))
    to_itself = _messages(context, context.command_topic)
    all_messages = {one for topic in context.takes for one in _messages(context, topic)}
    return Declaration(
        reads=tuple(sorted({*states, *all_messages})),
        writes=tuple(sorted({*states, *to_itself})),
        topology=_topology(context),
    )


def _version(rows: Rows[Any]) -> str:
    return f"{rows.table.name}/{rows.state_version}"


def _messages(context: Context[Any], topic: str) -> set[str]:
    return {f"{kind.__name__}/{major_of(kind.VERSION)}" for kind in context.takes.get(topic, ())}


def _topology(context: Context[Any]) -> str:
    shown = context.shared.shown_as if context.shared is not None else None
    shape = msgspec.json.encode([context.name, sorted(context.takes), shown])
    return hashlib.sha256(shape).hexdigest()[:12]
