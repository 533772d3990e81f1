"""What people do to outbox rows and tasks: publish once more, try at once. Each is an act in the audit trail.

Neither bypasses anything. A row that is to be published again is marked as unpublished, for the relay; its receivers'
inboxes make the copy harmless. A task that is to be tried at once is made due, for whoever claims what is due; an
unclear one is asked after first, as ever.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import Connection, or_, select

from orderflow.runtime.acts import Act, Behalf, note
from orderflow.runtime.schema import outbox, tasks
from orderflow.runtime.task_rows import OPEN

OUTBOX: Final = "outbox"
TASK: Final = "task"

Retried = Literal["due-now", "due-already", "under-way", "not-open"]


def republish(connection: Connection, ids: Sequence[int], behalf: Behalf, now: datetime) -> int:
    """Let published rows be published once more, by the relay; return how many of them were published."""
    rows = connection.execute(
        outbox.update()
        .where(outbox.c.id.in_(sorted(ids)), outbox.c.published_at.is_not(None))
        .values(published_at=None)
        .returning(outbox.c.key, outbox.c.event_id, outbox.c.event_type)
    ).all()
    acts = [Act(row.key, row.event_id, row.event_type, OUTBOX, "published", "waiting", behalf.reason) for row in rows]
    note(connection, behalf.actor, acts, now)
    return len(rows)


def retry(connection: Connection, task_id: str, behalf: Behalf, now: datetime) -> Retried:
    """Make an open task due now, unless it is already, or somebody is at work on it."""
    is_free = or_(tasks.c.claimed_by.is_(None), tasks.c.claimed_until < now)
    changed = connection.execute(
        tasks.update()
        .where(tasks.c.task_id == task_id, tasks.c.status == OPEN, tasks.c.due_at > now, is_free)
        .values(due_at=now)
    )
    row = connection.execute(select(tasks).where(tasks.c.task_id == task_id)).first()
    if row is None or row.status != OPEN:
        return "not-open"
    if changed.rowcount != 1:
        return "due-already" if row.claimed_by is None or row.claimed_until < now else "under-way"
    act = Act(row.key, task_id, row.kind, TASK, "waiting", "due", behalf.reason, row.attempts)
    note(connection, behalf.actor, [act], now)
    return "due-now"
