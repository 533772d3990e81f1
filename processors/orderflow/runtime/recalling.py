"""Reads what a context's database holds of some messages, and of what came of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from orderflow.runtime import inbox
from orderflow.runtime.comparing import KeptAt, Line, Recorded
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept
from orderflow.runtime.dropping import horizons_of
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.schema import audit_trail, dead_letters, decisions, outbox, tasks


class _Sent(msgspec.Struct, rename="camel"):
    event_id: str


class _Asked(msgspec.Struct):
    task_id: str


class _Outputs(msgspec.Struct):
    """Of a decision: what it asks for, by name."""

    messages: tuple[_Sent, ...] = ()
    tasks: tuple[_Asked, ...] = ()


_outputs = msgspec.json.Decoder(_Outputs)


def recall(connection: Connection, context: Context[Any], messages: Sequence[Incoming]) -> Recorded:
    """Return what is recorded of ``messages``; a few hundred at the most."""
    kept = dict(_decisions(connection, context.name, messages))
    named = [_outputs.decode(found.kept.decision) for found in kept.values()]
    sent = {message.event_id for outputs in named for message in outputs.messages}
    asked = {task.task_id for outputs in named for task in outputs.tasks}
    return Recorded(
        inbox=inbox.known(connection, context.name, [incoming.event_id for incoming in messages]),
        buried=_buried(connection, context.name, messages),
        decisions=kept,
        outbox=_bytes_of(connection, outbox.c.event_id, outbox.c.payload, sent),
        tasks=_bytes_of(connection, tasks.c.task_id, tasks.c.body, asked),
        trail=_trail(connection, {incoming.key for incoming in messages if incoming.event_id in kept}),
        horizons={name: horizon.until for name, horizon in horizons_of(connection).items()},
    )


def _decisions(connection: Connection, group: str, messages: Sequence[Incoming]) -> Iterable[tuple[str, KeptAt]]:
    table = decisions.c
    wanted = {incoming.event_id for incoming in messages}
    # By their keys, for which there is an index.
    query = select(table.event_id, table.message, table.state, table.shared, table.decision, table.recorded_at).where(
        table.group == group, table.key.in_(sorted({incoming.key for incoming in messages}))
    )
    for event_id, message, state, shared, decision, at in connection.execute(query):
        if event_id in wanted:
            yield event_id, KeptAt(Kept(message, state, shared, decision), at)


def _buried(connection: Connection, group: str, messages: Sequence[Incoming]) -> frozenset[tuple[str, int, int]]:
    table = dead_letters.c
    query = select(table.topic, table.partition, table.offset).where(
        table.group == group, table.key.in_(sorted({incoming.key for incoming in messages}))
    )
    return frozenset((topic, partition, offset) for topic, partition, offset in connection.execute(query))


def _bytes_of(connection: Connection, name: Any, content: Any, wanted: Iterable[str]) -> dict[str, bytes]:
    query = select(name, content).where(name.in_(sorted(wanted)))
    return {row[0]: bytes(row[1]) for row in connection.execute(query)}


def _trail(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[Line, ...]]:
    table = audit_trail.c
    query = (
        select(table.event_id, table.before, table.after)
        .where(table.key.in_(sorted(keys)))
        .order_by(table.key, table.id)
    )
    lines: dict[str, tuple[Line, ...]] = {}
    for event_id, before, after in connection.execute(query):
        lines[event_id] = (*lines.get(event_id, ()), (before, after))
    return lines
