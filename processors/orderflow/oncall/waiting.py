"""Outbox rows and tasks that wait, as somebody on call sees them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, func, or_, select

from orderflow.contracts.decision import Call
from orderflow.oncall.choosing import Choice
from orderflow.runtime.schema import outbox, tasks
from orderflow.runtime.task_rows import OPEN

LATE: Final = timedelta(seconds=5)
"""A task that has been due for longer is overdue: whoever claims what is due looks four times a second."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Row(_Part, frozen=True, kw_only=True):
    """A row of an outbox."""

    name: str
    event_id: str
    event_type: str
    topic: str
    key: str
    created_at: datetime
    published_at: datetime | None = None


class OpenTask(_Part, frozen=True, kw_only=True):
    """A task that has not ended.

    Attributes:
        what: the provider and the operation of a call, the type of message that a timer delivers.
        attempts: how many have failed.
        unclear: an attempt was lost: the provider is asked before it is called again.
        claimed_by: who is at work on it.
    """

    name: str
    kind: str
    what: str
    key: str
    due_at: datetime
    overdue: bool
    attempts: int = 0
    unclear: bool = False
    last_error: str | None = None
    claimed_by: str | None = None


class _Delivered(msgspec.Struct, rename="camel"):
    event_type: str = ""


class _Timer(msgspec.Struct):
    message: _Delivered


def outbox_rows(
    connection: Connection, context: str, choice: Choice, *, published: bool, event_ids: Sequence[str], limit: int
) -> list[tuple[int, Row]]:
    """Return the chosen rows that are published, or that wait to be, the oldest first, with their numbers."""
    row = outbox.c
    conditions = _chosen(choice, row.key, row.event_type, row.created_at)
    conditions.append(row.published_at.is_not(None) if published else row.published_at.is_(None))
    if event_ids:
        conditions.append(row.event_id.in_(sorted(event_ids)))
    columns = (row.id, row.event_id, row.event_type, row.topic, row.key, row.created_at, row.published_at)
    found = connection.execute(select(*columns).where(*conditions).order_by(row.id).limit(limit))
    return [
        (
            number,
            Row(
                name=f"{context}/{event_id}",
                event_id=event_id,
                event_type=event_type,
                topic=topic,
                key=key,
                created_at=created_at,
                published_at=published_at,
            ),
        )
        for number, event_id, event_type, topic, key, created_at, published_at in found
    ]


def still_waiting(connection: Connection, numbers: Sequence[int]) -> int:
    """Return how many of the rows are not published."""
    query = select(func.count()).where(outbox.c.id.in_(sorted(numbers)), outbox.c.published_at.is_(None))
    return connection.scalar(query) or 0


def open_tasks(
    connection: Connection,
    context: str,
    choice: Choice,
    now: datetime,
    *,
    kind: str | None = None,
    troubled: bool = False,
    limit: int,
) -> list[OpenTask]:
    """Return the chosen open tasks, the longest due first.

    Args:
        kind: call or timer; ``None`` for both.
        troubled: only those that are overdue, unclear, or have failed before.
    """
    task = tasks.c
    conditions = [task.status == OPEN, *_chosen(choice, task.key, None, task.created_at)]
    if kind is not None:
        conditions.append(task.kind == kind)
    if troubled:
        conditions.append(or_(task.attempts > 0, task.unclear, task.due_at < now - LATE))
    found = connection.execute(select(tasks).where(*conditions).order_by(task.due_at, task.task_id).limit(limit))
    shown = [_task(row, context, now) for row in found]
    return [one for one in shown if choice.event_type in {None, one.what}]


def _chosen(
    choice: Choice, key: ColumnElement[str], event_type: ColumnElement[str] | None, at: ColumnElement[Any]
) -> list[ColumnElement[bool]]:
    conditions = [key == choice.key] if choice.key is not None else []
    if event_type is not None and choice.event_type is not None:
        conditions.append(event_type == choice.event_type)
    if choice.since is not None:
        conditions.append(at >= choice.since)
    if choice.until is not None:
        conditions.append(at < choice.until)
    return conditions


def _task(row: Any, context: str, now: datetime) -> OpenTask:
    is_claimed = row.claimed_by is not None and row.claimed_until >= now
    return OpenTask(
        name=f"{context}/{row.task_id}",
        kind=row.kind,
        what=_what(row.kind, row.body),
        key=row.key,
        due_at=row.due_at,
        overdue=row.due_at < now - LATE and not is_claimed,
        attempts=row.attempts,
        unclear=row.unclear,
        last_error=row.last_error,
        claimed_by=row.claimed_by if is_claimed else None,
    )


def _what(kind: str, body: bytes) -> str:
    if kind == "timer":
        return msgspec.json.decode(body, type=_Timer).message.event_type
    call = msgspec.json.decode(body, type=Call)
    return f"{call.provider}/{call.operation}"
