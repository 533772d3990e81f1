"""Checks of the tasks: calls that were made have their outcome in the outbox, and nothing is left lying."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, func, select

from orderflow.contracts import outcomes
from orderflow.contracts.envelope import Message
from orderflow.runtime.schema import outbox, tasks
from orderflow.runtime.task_rows import DONE
from orderflow.verification.case import Case
from orderflow.verification.reading import rows_of

OUTCOMES = tuple(kind.__name__ for kind in Message.__subclasses__() if kind.__module__ == outcomes.__name__)
"""The messages in which tasks end."""


class _Outcome(msgspec.Struct, rename="camel"):
    event_id: str = ""
    task_id: str = ""


class _Timer(msgspec.Struct):
    message: _Outcome


_outcomes = msgspec.json.Decoder(_Outcome)
_timers = msgspec.json.Decoder(_Timer)


def settled(case: Case) -> Iterator[str]:
    """No call is open where everything stands still; where it runs, nothing that is due is left lying."""
    for task in case.tasks:
        if task.context in case.stopped:
            continue
        if task.overdue:
            yield f"a {task.kind} of {task.context} is due, and nobody is at work on it"
        elif task.kind == "call" and not case.online:
            yield f"a call of {task.context} is open"


def tasks_done(connection: Connection) -> int:
    """Return how many tasks were done."""
    return connection.scalar(select(func.count()).where(tasks.c.status == DONE)) or 0


def outcome_faults(connection: Connection, context: str) -> Iterator[tuple[str, str]]:
    """Yield, with its key, each task that was done and has no outcome, and each outcome whose task was not done.

    Both are written in one transaction, so this holds at every moment.
    """
    done = dict(_done(connection))
    told: dict[str, str] = {}
    for token, key in _told(connection):
        if token in told:
            yield key, f"task {token} of {context} has more than one outcome in the outbox"
        told[token] = key
    for token in sorted(done.keys() - told.keys()):
        yield done[token], f"task {token} of {context} was done, and its outcome is not in the outbox"
    for token in sorted(told.keys() - done.keys()):
        yield told[token], f"an outcome of {token} stands in the outbox of {context}, and no such task was done"


def _done(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield the tasks that were done: a call by its own id, a timer by that of the message it delivers."""
    query = select(tasks.c.task_id, tasks.c.kind, tasks.c.key, tasks.c.body).where(tasks.c.status == DONE)
    for task_id, kind, key, body in rows_of(connection, query):
        yield (task_id if kind == "call" else _delivers(body) or task_id), key


def _told(connection: Connection) -> Iterator[tuple[str, str]]:
    query = select(outbox.c.event_id, outbox.c.key, outbox.c.payload).where(outbox.c.event_type.in_(OUTCOMES))
    for event_id, key, payload in rows_of(connection, query):
        yield _ends(payload) or event_id, key


def _delivers(body: bytes) -> str:
    try:
        return _timers.decode(body).message.event_id
    except msgspec.MsgspecError:
        return ""


def _ends(payload: bytes) -> str:
    try:
        return _outcomes.decode(payload).task_id
    except msgspec.MsgspecError:
        return ""
