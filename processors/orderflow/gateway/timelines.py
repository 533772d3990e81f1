"""One context's part of an order's timeline: its transitions, and the calls to the outside with their attempts.

Read from what the runtime records in every context's database, so each context has one without code of its own.
"""

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from orderflow.contracts.decision import Call
from orderflow.runtime.schema import audit_trail, tasks
from orderflow.runtime.task_rows import DONE


class Cause(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The message that brought a transition about."""

    event_id: str
    event_type: str


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One transition. ``attempt`` counts the asks of its step, from 1; 0 where there is none to count.

    ``at`` is the time of the message that caused it; ``recorded_at`` when its context stored it. ``actor`` is whose act
    it was, of what somebody on call has done to one of the order's messages or tasks.
    """

    context: str
    at: datetime
    recorded_at: datetime
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    cause: Cause
    correlation_id: str
    step: str = ""
    attempt: int = msgspec.field(default_factory=int)
    detail: str = ""
    actor: str | None = None


class CallAttempts(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A call to the outside: how often it was tried, what became of it (open, done or ended), what failed last."""

    context: str
    task_id: str
    provider: str
    operation: str
    status: str
    attempts: int
    created_at: datetime
    ended_at: datetime | None = None
    last_error: str | None = None


class ContextTimeline(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one context has to tell of an order, in the order in which it happened."""

    order_id: str
    context: str
    entries: tuple[TimelineEntry, ...]
    calls: tuple[CallAttempts, ...]


def timeline_of(connection: Connection, context: str, order_id: str) -> ContextTimeline:
    """Return what ``context``, whose database this is, has recorded of an order; nothing, if it knows nothing."""
    return ContextTimeline(
        order_id=order_id,
        context=context,
        entries=tuple(_entries(connection, context, order_id)),
        calls=tuple(_calls(connection, context, order_id)),
    )


def _entries(connection: Connection, context: str, order_id: str) -> list[TimelineEntry]:
    query = select(audit_trail).where(audit_trail.c.key == order_id).order_by(audit_trail.c.id)
    return [
        TimelineEntry(
            context=context,
            at=row.occurred_at,
            recorded_at=row.recorded_at,
            before=row.before,
            after=row.after,
            cause=Cause(event_id=row.event_id, event_type=row.event_type),
            correlation_id=row.correlation_id,
            step=row.step,
            attempt=row.attempt,
            detail=row.detail,
            actor=row.actor,
        )
        for row in connection.execute(query)
    ]


def _calls(connection: Connection, context: str, order_id: str) -> list[CallAttempts]:
    query = select(tasks).where(tasks.c.key == order_id, tasks.c.kind == "call").order_by(tasks.c.created_at)
    return [
        CallAttempts(
            context=context,
            task_id=row.task_id,
            provider=call.provider,
            operation=call.operation,
            status=row.status,
            # The row counts the attempts that failed; a call that is done had one more.
            attempts=row.attempts + (row.status == DONE),
            created_at=row.created_at,
            ended_at=row.ended_at,
            last_error=row.last_error,
        )
        for row in connection.execute(query)
        for call in (msgspec.json.decode(row.body, type=Call),)
    ]
