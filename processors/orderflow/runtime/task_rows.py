"""Tasks in the database: calls to the outside and timers, each open until its end is recorded.

Every change of a task is a compare-and-set on its being open and claimed by the one who changes it, so that an outcome
is recorded once, whoever else believes to be at work on it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Boolean, Connection, Integer, bindparam, literal, or_, select

from orderflow.contracts.decision import Call, Timer
from orderflow.contracts.envelope import Message, Metadata
from orderflow.runtime.schema import tasks
from orderflow.runtime.statements import Statement

OPEN = "open"
DONE = "done"
ENDED = "ended"


class StoredTimer(msgspec.Struct, frozen=True, kw_only=True, tag="Timer"):
    """A timer as it stands in its row, its message still encoded."""

    task_id: str
    after: float
    message: msgspec.Raw
    request: str | None = None
    replies: tuple[str, ...] = ()


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the outcome's message continues."""

    metadata: Metadata
    traceparent: str | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One task that this process has claimed. When it was due tells the claim from every later one."""

    task_id: str
    key: str
    body: Call | StoredTimer
    cause: Cause
    attempts: int
    unclear: bool
    due_at: datetime
    horizon: dict[str, int] | None = None


_bodies = msgspec.json.Decoder(Call | StoredTimer)
_causes = msgspec.json.Decoder(Cause)
_COLUMNS = (
    tasks.c.task_id,
    tasks.c.key,
    tasks.c.body,
    tasks.c.cause,
    tasks.c.attempts,
    tasks.c.unclear,
    tasks.c.due_at,
    tasks.c.horizon,
)


_IS_OPEN = tasks.c.status == literal(OPEN, literal_execute=True)
"""Written out, for a plan that PostgreSQL keeps for any value cannot use the index of the open ones alone."""
_INSERT = Statement(tasks.insert())
_FREE = (
    _IS_OPEN,
    tasks.c.due_at <= bindparam("now"),
    or_(tasks.c.claimed_by.is_(None), tasks.c.claimed_until < bindparam("now")),
)
_ANY_DUE = Statement(select(tasks.c.task_id).where(*_FREE).limit(1))
_DUE = Statement(
    select(tasks.c.task_id)
    .where(*_FREE)
    .order_by(tasks.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_CLAIM = Statement(
    tasks.update()
    .where(tasks.c.task_id.in_(bindparam("ids", expanding=True)), _IS_OPEN)
    # A claim that was not given back may have been at work when its process died: ask before calling again.
    .values(
        claimed_by=bindparam("to_owner"),
        claimed_until=bindparam("until"),
        unclear=or_(tasks.c.unclear, tasks.c.claimed_by.is_not(None)),
    )
    .returning(*_COLUMNS)
)
_END = Statement(
    tasks.update()
    .where(tasks.c.task_id.in_(bindparam("ids", expanding=True)), _IS_OPEN)
    .values(status=ENDED, ended_at=bindparam("now"), claimed_by=None)
)
_FINISH = Statement(
    tasks.update()
    .where(
        tasks.c.task_id == bindparam("at_task_id"),
        _IS_OPEN,
        tasks.c.claimed_by == bindparam("at_owner"),
    )
    .values(status=DONE, ended_at=bindparam("now"), claimed_by=None)
)
_POSTPONE = Statement(
    tasks.update()
    .where(
        tasks.c.task_id == bindparam("at_task_id"),
        _IS_OPEN,
        tasks.c.claimed_by == bindparam("at_owner"),
        tasks.c.due_at == bindparam("was_due_at"),
    )
    .values(
        due_at=bindparam("to_due_at"),
        attempts=bindparam("to_attempts"),
        unclear=or_(tasks.c.unclear, bindparam("is_unclear", type_=Boolean)),
        last_error=bindparam("error"),
        horizon=bindparam("to_horizon"),
        claimed_by=None,
        claimed_until=None,
    )
)
_EXTEND = Statement(
    tasks.update()
    .where(tasks.c.task_id.in_(bindparam("ids", expanding=True)), _IS_OPEN, tasks.c.claimed_by == bindparam("at_owner"))
    .values(claimed_until=bindparam("until"))
)
_FREE_LIVES = Statement(
    tasks.update()
    .where(_IS_OPEN, tasks.c.claimed_by.like(bindparam("lives"), escape="\\"))
    .values(claimed_by=None, claimed_until=None, unclear=True)
)


def insert(
    connection: Connection,
    wanted: Sequence[tuple[str, Call | Timer, Message, str | None]],
    *,
    owner: str | None,
    lease: timedelta,
    now: datetime,
) -> list[Task]:
    """Insert tasks (key, body, the message that asked for it, its traceparent) and return the calls.

    ``owner`` starts with its claim on the calls, so that nobody has to look for what was just written.
    """
    rows, calls = [], []
    for key, body, message, traceparent in wanted:
        cause = Cause(metadata=_continued(message), traceparent=traceparent)
        is_call = isinstance(body, Call)
        claimed = owner if is_call else None
        due = now if isinstance(body, Call) else now + timedelta(seconds=body.after)
        rows.append(
            {
                "task_id": body.task_id,
                "kind": "call" if is_call else "timer",
                "key": key,
                "status": OPEN,
                "due_at": due,
                "attempts": 0,
                "unclear": False,
                "body": msgspec.json.encode(body),
                "cause": msgspec.json.encode(cause).decode(),
                "claimed_by": claimed,
                "claimed_until": now + lease if claimed else None,
                "created_at": now,
            }
        )
        if isinstance(body, Call):
            calls.append(
                Task(task_id=body.task_id, key=key, body=body, cause=cause, attempts=0, unclear=False, due_at=due)
            )
    if rows:
        _INSERT.run_each(connection, rows)
    return calls


def _continued(message: Message) -> Metadata:
    return msgspec.structs.replace(message.metadata, correlation_id=message.metadata.correlation_id or message.order_id)


def end(connection: Connection, task_ids: Iterable[str], now: datetime) -> None:
    """End tasks that a decision does not need any more, if they are still open."""
    wanted = sorted(set(task_ids))
    if wanted:
        _END.run(connection, {"ids": wanted, "now": now})


def anything_due(connection: Connection, now: datetime) -> bool:
    """Tell whether some open task is due and free, without writing anything."""
    return bool(_ANY_DUE.rows(connection, {"now": now}))


def claim(connection: Connection, owner: str, lease: timedelta, limit: int, now: datetime) -> list[Task]:
    """Claim open tasks that are due and free, the longest due first."""
    found = [row[0] for row in _DUE.rows(connection, {"now": now, "most": limit})]
    if not found:
        return []
    rows = _CLAIM.rows(connection, {"ids": found, "to_owner": owner, "until": now + lease})
    return sorted((_task(row) for row in rows), key=lambda task: task.due_at)


def _task(row: Any) -> Task:
    return Task(
        task_id=row[0],
        key=row[1],
        body=_bodies.decode(row[2]),
        cause=_causes.decode(row[3]),
        attempts=row[4],
        unclear=row[5],
        due_at=row[6],
        horizon=msgspec.json.decode(row[7], type=dict[str, int]) if row[7] else None,
    )


def finish(connection: Connection, task_id: str, owner: str, now: datetime) -> bool:
    """Mark the task done, if it is still open and ``owner``'s; tell whether it was."""
    return _FINISH.run(connection, {"at_task_id": task_id, "at_owner": owner, "now": now}) == 1


def postpone(connection: Connection, task: Task, owner: str, due_at: datetime, error: str | None) -> bool:
    """Give the task back until ``due_at``, with its attempts, doubts and horizon as they stand in ``task``.

    Nothing changes where it was given back before, even if ``owner`` has claimed it again since: a commit of which
    nobody heard is repeated, and must not end the claim of the call that is under way by then. No doubt is ever taken
    back either: who claims a task whose claim has run out knows of one that ``task`` may not know.
    """
    values = {
        "at_task_id": task.task_id,
        "at_owner": owner,
        "was_due_at": task.due_at,
        "to_due_at": due_at,
        "to_attempts": task.attempts,
        "is_unclear": task.unclear,
        "error": error,
        "to_horizon": msgspec.json.encode(task.horizon).decode() if task.horizon is not None else None,
    }
    return _POSTPONE.run(connection, values) == 1


def extend(connection: Connection, task_ids: Sequence[str], owner: str, until: datetime) -> None:
    """Keep the claim on tasks that take longer than the lease."""
    if task_ids:
        _EXTEND.run(connection, {"ids": sorted(task_ids), "at_owner": owner, "until": until})


def forget_horizons(connection: Connection) -> None:
    """Let timers read the end of their reply topics anew: one of the topics is not the one that was read."""
    connection.execute(tasks.update().where(_IS_OPEN, tasks.c.horizon.is_not(None)).values(horizon=None))


def free(connection: Connection, owner: str) -> None:
    """Give back every claim of ``owner`` and of its earlier lives (``instance/nonce``): what they did is unclear."""
    instance = owner.partition("/")[0]
    for wild in "\\%_":
        instance = instance.replace(wild, f"\\{wild}")
    _FREE_LIVES.run(connection, {"lives": f"{instance}/%"})
