"""Checks of the tasks: calls that were made have their outcome in the outbox, and nothing is left lying."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from orderflow.contracts import outcomes
from orderflow.contracts.envelope import Message
from orderflow.runtime.schema import outbox, tasks
from orderflow.runtime.statements import Statement
from orderflow.runtime.task_rows import DONE
from orderflow.verification.case import Case
from orderflow.verification.dropped import Horizons
from orderflow.verification.messages import is_about_order
from orderflow.verification.reading import Walk

OUTCOMES = tuple(kind.__name__ for kind in Message.__subclasses__() if kind.__module__ == outcomes.__name__)
"""The messages in which tasks end."""


class _Outcome(msgspec.Struct, rename="camel"):
    event_id: str = ""
    task_id: str = ""


class _Timer(msgspec.Struct):
    message: _Outcome


_COUNT = Statement(select(func.count()).where(tasks.c.status == DONE))
_DONE = Walk(
    select(tasks.c.task_id, tasks.c.kind, tasks.c.key, tasks.c.body, tasks.c.ended_at).where(tasks.c.status == DONE),
    tasks.c.task_id,
)
_TOLD = Walk(
    select(outbox.c.event_id, outbox.c.event_type, outbox.c.key, outbox.c.payload, outbox.c.created_at).where(
        outbox.c.event_type.in_(OUTCOMES)
    ),
    outbox.c.event_id,
)

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
    return int(_COUNT.rows(connection, {})[0][0])


class Fault(NamedTuple):
    """What is wrong, and with what: an order, or else what the outcome is keyed by. ``lacks``: it may be dropped."""

    about: str
    is_order: bool
    detail: str
    lacks: bool = False


class _Told(NamedTuple):
    about: str
    is_order: bool
    at: datetime


def outcome_faults(connection: Connection, context: str, horizons: Horizons) -> Iterator[Fault]:
    """Yield each task that was done and has no outcome, and each outcome whose task was not done.

    Both are written in one transaction, so this holds at every moment; each may have been dropped before the other.
    """
    done = dict(_done(connection))
    told: dict[str, _Told] = {}
    for token, about in _told(connection):
        if token in told:
            yield Fault(
                about.about, about.is_order, f"task {token} of {context} has more than one outcome in the outbox"
            )
        told[token] = about
    for token in sorted(done.keys() - told.keys()):
        key, at = done[token]
        detail = f"task {token} of {context} was done, and its outcome is not in the outbox"
        yield Fault(key, True, detail, lacks=horizons.may_lack(context, "outbox", at))
    for token in sorted(told.keys() - done.keys()):
        found = told[token]
        detail = f"an outcome of {token} is in the outbox of {context}, and no such task was done"
        lacks = horizons.may_lack(context, "tasks", found.at)
        yield Fault(found.about, found.is_order, detail, lacks=lacks)


def _done(connection: Connection) -> Iterator[tuple[str, tuple[str, datetime]]]:
    """Yield the tasks that were done: a call by its own id, a timer by that of the message it delivers.

    A task's key is that of the message that asked for it, which is about an order.
    """
    for task_id, kind, key, body, ended_at in _DONE.rows(connection):
        yield (task_id if kind == "call" else _delivers(body) or task_id), (key, ended_at)


def _told(connection: Connection) -> Iterator[tuple[str, _Told]]:
    for event_id, event_type, key, payload, created_at in _TOLD.rows(connection):
        yield _ends(payload) or event_id, _Told(key, is_about_order(event_type), created_at)


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
