"""Acts: what a person, or a policy in a person's stead, has done to a message, a dead letter or a task.

An act is a line of the audit trail under the key of what it was done to, beside the decisions' own transitions; what
tells the two apart is that an act has an actor. It is written in the transaction that does what it says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from orderflow.runtime.schema import audit_trail

LONGEST_ACTOR = 200
"""Of the columns that name who has asked."""


@dataclass(frozen=True, slots=True)
class Behalf:
    """Who wants it, and why."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was done.

    Attributes:
        key, event_id, event_type: of the message, or of the task, that it was done to.
        subject: what kind of thing that is: dead-letter, outbox or task. Stands where a transition has its step.
        before, after: how it stood and stands.
        attempt: the how-manieth try it was, where there are several.
        detail: why, and what came of it.
    """

    key: str
    event_id: str
    event_type: str
    subject: str
    before: str
    after: str
    detail: str
    attempt: int = 0


_INSERT = audit_trail.insert()


def note(connection: Connection, actor: str, acts: Iterable[Act], now: datetime) -> None:
    """Write acts of ``actor`` into the audit trail."""
    rows = [
        {
            "key": act.key,
            "event_id": act.event_id,
            "event_type": act.event_type,
            "before": act.before,
            "after": act.after,
            "step": act.subject,
            "attempt": act.attempt,
            "detail": act.detail,
            "correlation_id": act.key,
            "occurred_at": now,
            "recorded_at": now,
            "actor": actor,
        }
        for act in acts
    ]
    if rows:
        connection.execute(_INSERT, rows)
