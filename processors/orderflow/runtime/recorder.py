"""Decide, and record what was decided: the part that the processor's batches and the API's requests share.

One :class:`Recorder` serves one transaction's worth of messages. Decisions are made in the order given; everything they
ask for is collected and written at the end, in the same order of tables and keys by everybody, so that two transactions
never wait for each other in a circle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from orderflow.contracts import codec
from orderflow.contracts.decision import Append, Call, Decision, Keep, Timer
from orderflow.contracts.envelope import Message
from orderflow.runtime import outbox, task_rows
from orderflow.runtime.aggregates import Aggregates
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.context import Context, Ended
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.rows import Versioned
from orderflow.runtime.sampling import Sampling
from orderflow.runtime.schema import audit_trail, decisions
from orderflow.runtime.statements import Statement
from orderflow.runtime.task_rows import Task

LEASE = timedelta(seconds=10)
"""How long a claim on a call lasts unless it is extended, as it is every three seconds while its process lives: the
calls of a process that was killed go on elsewhere within ten seconds."""


_AUDIT = Statement(audit_trail.insert())
_SAMPLE = Statement(decisions.insert())


@dataclass(slots=True)
class Recorded:
    """What a transaction wrote, for whoever does it after the commit."""

    outbox: tuple[OutboxRow, ...] = ()
    calls: list[Task] = field(default_factory=list)
    states: dict[str, tuple[Any, bytes]] = field(default_factory=dict)
    shared: dict[str, bytes] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)


class Recorder:
    """Decides messages of one context within a transaction of the caller's and records the decisions.

    Args:
        owner: who claims the calls; ``None`` leaves them to whoever looks for due tasks.
        revision: written beside each sampled decision.
    """

    def __init__(
        self,
        context: Context[Any],
        connection: Connection,
        *,
        cached: Mapping[str, bytes],
        owner: str | None,
        revision: str,
        sampling: Sampling,
        now: datetime,
    ) -> None:
        self._context = context
        self._connection = connection
        self._owner = owner
        self._revision = revision
        self._sampling = sampling
        self._now = now
        self._aggregates = Aggregates(context.aggregate, cached)
        self._shared: dict[str, Versioned[Any]] = {}
        self._shared_asked: set[str] = set()
        self._shared_changed: dict[str, Message] = {}
        self._messages: list[tuple[Message, str | None]] = []
        self._tasks: list[tuple[str, Call | Timer, Message, str | None]] = []
        self._ended_tasks: list[str] = []
        self._writes: list[Append | Keep] = []
        self._audit: list[dict[str, Any]] = []
        self._samples: list[dict[str, Any]] = []
        self._ended: list[Ended] = []

    def read(self, messages: Sequence[Message]) -> None:
        """Read and lock, in the order of their keys, all that deciding ``messages`` is known to need."""
        context = self._context
        keyed = [(message, context.key_of(message)) for message in messages]
        self._aggregates.read(self._connection, {key for _, key in keyed if key is not None})
        if context.shared is not None:
            wanted: set[str] = set()
            for message, key in keyed:
                wanted.update(context.shared.needs(self._aggregates.state(key) if key else None, message))
            self._read_shared(wanted)

    def _read_shared(self, keys: set[str]) -> None:
        shared = self._context.shared
        missing = keys - self._shared_asked
        if shared is not None and missing:
            self._shared.update(shared.rows.load(self._connection, missing, lock=shared.locked))
            self._shared_asked |= missing

    def decide(self, incoming: Incoming) -> Decision[Any]:
        """Decide one message on the states as they are now, and collect what the decision asks for.

        Raises:
            Refused: the message asks for what cannot be.
            Exception: whatever a faulty ``decide`` raises; nothing of this message has been collected then.
        """
        assert incoming.message is not None
        message, key, before, visible = self._at_hand(incoming.message)
        decision = self._context.decide(before, visible, message)
        self._collect(incoming, message, key, before, visible, decision)
        return decision

    def rehearsal(self, message: Message) -> Callable[[], object]:
        """Return what decides one message and encodes the decision, for nobody and without the database."""
        completed, _, before, visible = self._at_hand(message)
        return lambda: encode_decision(self._context.decide(before, visible, completed))

    def _at_hand(self, message: Message) -> tuple[Message, str | None, Any, dict[str, Any]]:
        """Return a message as it is decided, its key, and the states that it is decided on."""
        context = self._context
        completed = context.prepare(self._connection, message) if context.prepare else message
        key = context.key_of(completed)
        before = self._state(key)
        return completed, key, before, self._visible(before, completed)

    def _state(self, key: str | None) -> Any:
        if key is None:
            return None
        self._aggregates.read(self._connection, [key])
        return self._aggregates.state(key)

    def _visible(self, state: Any, message: Message) -> dict[str, Any]:
        shared = self._context.shared
        if shared is None:
            return {}
        keys = set(shared.needs(state, message))
        # What an earlier message of this batch changed may ask for rows that nobody knew of before.
        self._read_shared(keys)
        return {key: self._shared[key].state for key in sorted(keys) if key in self._shared}

    def _collect(
        self,
        incoming: Incoming,
        message: Message,
        key: str | None,
        before: Any,
        visible: Mapping[str, Any],
        decision: Decision[Any],
    ) -> None:
        trace = incoming.traceparent
        # All that may raise comes before anything is collected.
        sampled = self._sampled(incoming, message, before, visible, decision)
        ended = self._ended_by(key, before, decision.state)
        audited = self._audited(incoming, message, decision)
        if key is not None and decision.state is not None:
            self._aggregates.change(key, decision.state)
        for name, state in decision.shared.items():
            row = self._shared.get(name)
            self._shared[name] = Versioned(row.version if row else 0, state)
            self._shared_changed[name] = message
        self._messages += [(sent, trace) for sent in decision.messages]
        self._tasks += [(incoming.key, task, message, trace) for task in decision.tasks]
        self._ended_tasks += decision.ended
        self._writes += decision.writes
        self._audit += audited
        self._samples += sampled
        self._ended += ended

    def _ended_by(self, key: str | None, before: Any, after: Any) -> list[Ended]:
        ended = None if key is None or after is None else self._context.ended(after)
        if ended is None or (before is not None and self._context.ended(before) is not None):
            return []
        return [ended]

    def _audited(self, incoming: Incoming, message: Message, decision: Decision[Any]) -> list[dict[str, Any]]:
        return [
            {
                "key": incoming.key,
                "event_id": message.event_id,
                "event_type": message.event_type,
                "before": transition.before,
                "after": transition.after,
                "step": transition.step,
                "attempt": transition.attempt,
                "detail": transition.detail,
                "correlation_id": message.metadata.correlation_id or message.order_id,
                "occurred_at": message.occurred_at,
                "recorded_at": self._now,
            }
            for transition in decision.transitions
        ]

    def _sampled(
        self,
        incoming: Incoming,
        message: Message,
        before: Any,
        visible: Mapping[str, Any],
        decision: Decision[Any],
    ) -> list[dict[str, Any]]:
        if not self._sampling.wants(incoming.key):
            return []
        return [
            {
                "group": self._context.name,
                "event_id": incoming.event_id,
                "key": incoming.key,
                "message": codec.encode(message),
                "state": None if before is None else self._context.aggregate.encode(before),
                "shared": msgspec.json.encode(visible, order="sorted"),
                "decision": encode_decision(decision),
                "revision": self._revision,
                "recorded_at": self._now,
            }
        ]

    def write(self) -> Recorded:
        """Write all that was collected.

        Raises:
            StaleState: an aggregate or a shared row has moved on: read and decide again.
            sqlalchemy.exc.SQLAlchemyError: the database refuses or is away.
        """
        connection, now = self._connection, self._now
        self._aggregates.write(connection)
        announced = self._write_shared()
        for insert, values in (_AUDIT, self._audit), (_SAMPLE, self._samples):
            if values:
                insert.run_each(connection, values)
        self._write_rows()
        calls = task_rows.insert(connection, self._tasks, owner=self._owner, lease=LEASE, now=now)
        task_rows.end(connection, self._ended_tasks, now)
        rows = outbox.insert(connection, [*self._messages, *announced], now)
        ended = set(self._ended_tasks)
        return Recorded(
            outbox=rows,
            calls=[call for call in calls if call.task_id not in ended],
            states=self._aggregates.entries(),
            shared={name: self._encode_shared(name) for name in self._shared_changed},
            ended=self._ended,
        )

    def _encode_shared(self, name: str) -> bytes:
        assert self._context.shared is not None
        return self._context.shared.rows.encode(self._shared[name].state)

    def _write_shared(self) -> list[tuple[Message, str | None]]:
        shared = self._context.shared
        if shared is None or not self._shared_changed:
            return []
        rows = {
            name: Versioned(self._shared[name].version + 1, self._shared[name].state) for name in self._shared_changed
        }
        shared.rows.insert(self._connection, {name: row for name, row in rows.items() if row.version == 1})
        shared.rows.update(self._connection, {name: row for name, row in rows.items() if row.version > 1})
        self._shared.update(rows)
        if shared.announce is None:
            return []
        return [
            (shared.announce(name, rows[name].state, cause), None)
            for name, cause in sorted(self._shared_changed.items(), key=lambda change: change[0])
        ]

    def _write_rows(self) -> None:
        """Write the context's own rows, a statement per table and not per row."""
        appended: dict[str, list[dict[str, Any]]] = {}
        kept: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for write in self._writes:
            if isinstance(write, Append):
                appended.setdefault(write.table, []).append(write.values)
            else:
                kept.setdefault((write.table, write.newest_by), []).append({**write.key, **write.values})
        tables = self._context.tables.tables
        for name, rows in sorted(appended.items()):
            _appending(tables[name]).run_each(self._connection, rows)
        for (name, newest_by), rows in sorted(kept.items()):
            _keeping(self._connection.dialect.name, tables[name], newest_by).run_each(self._connection, rows)


@cache
def _appending(table: Table) -> Statement:
    return Statement(table.insert())


@cache
def _keeping(dialect: str, table: Table, newest_by: str) -> Statement:
    """Return the statement that inserts a row, or replaces one whose ``newest_by`` is smaller."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    key = [column.name for column in table.primary_key]
    return Statement(
        insert.on_conflict_do_update(
            index_elements=key,
            set_={column.name: insert.excluded[column.name] for column in table.c if column.name not in key},
            where=insert.excluded[newest_by] > table.c[newest_by],
        )
    )


def encode_decision(decision: Decision[Any]) -> bytes:
    """Return a decision as bytes: equal decisions, and they alone, give equal bytes."""
    return msgspec.json.encode(decision, order="sorted")
