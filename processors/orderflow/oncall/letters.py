"""Dead letters as somebody on call sees them: chosen, grouped by what ails them, each with what waits behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, func, select

from orderflow.contracts.masking import masked
from orderflow.oncall.choosing import Choice
from orderflow.runtime.dead_letters import OPEN
from orderflow.runtime.inbox import PARKED
from orderflow.runtime.letters import SUBJECT
from orderflow.runtime.schema import audit_trail, dead_letters, letter_requests, processed_events


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Asked(_Part, frozen=True, kw_only=True):
    """What somebody has asked for, and is not done yet."""

    action: str
    by: str
    reason: str
    asked_at: datetime
    due_at: datetime


class Found(_Part, frozen=True, kw_only=True):
    """A dead letter without its bytes.

    Attributes:
        name: by which commands know it: ``payment/12``.
        replays: how many have failed; ``tried_at`` is when it was last replayed, or let go.
        parked: how many messages of its key wait behind it.
    """

    name: str
    context: str
    id: int
    status: str
    cause: str
    reason: str
    event_type: str
    event_id: str
    key: str
    topic: str
    partition: int
    offset: int
    revision: str
    created_at: datetime
    parked: int = 0
    replays: int = 0
    stack_hash: str | None = None
    tried_at: datetime | None = None
    asked: Asked | None = None


class Group(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """Letters of one context with one cause, from one place in the code. ``example`` is the newest one's name."""

    context: str
    cause: str
    stack_hash: str | None
    letters: int
    orders: int
    parked: int
    quarantined: int
    oldest: datetime
    newest: datetime
    example: str
    reason: str


class Waiting(_Part, frozen=True, kw_only=True):
    """A message that is parked behind a letter."""

    event_type: str
    event_id: str
    topic: str
    since: datetime


class Deed(_Part, frozen=True, kw_only=True):
    """What was done to a letter: a line of the audit trail."""

    at: datetime
    by: str
    before: str
    after: str
    detail: str


class Sheet(_Part, frozen=True, kw_only=True):
    """All there is to say about a letter. Personal data in the payload is masked."""

    letter: Found
    headers: dict[str, str]
    payload: str
    size: int
    behind: tuple[Waiting, ...]
    deeds: tuple[Deed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """What ails the letters that are chosen, beyond what rows have in common. Empty fields choose nothing."""

    cause: str | None = None
    stack_hash: str | None = None
    status: str = OPEN

    @property
    def is_empty(self) -> bool:
        """Whether it leaves the choice open but for the status."""
        return self.cause is None and self.stack_hash is None


def found(connection: Connection, context: str, choice: Choice, ailment: Ailment, limit: int) -> list[Found]:
    """Return the letters that are chosen, the oldest first, ``limit`` at most."""
    letter = dead_letters.c
    wanted: dict[ColumnElement[Any], Any] = {
        letter.key: choice.key,
        letter.event_type: choice.event_type,
        letter.cause: ailment.cause,
        letter.stack_hash: ailment.stack_hash,
    }
    conditions = [letter.group == context, letter.status == ailment.status]
    conditions += [column == value for column, value in wanted.items() if value is not None]
    conditions += [letter.created_at >= choice.since] if choice.since else []
    conditions += [letter.created_at < choice.until] if choice.until else []
    return _read(connection, context, conditions, limit)


def named(connection: Connection, context: str, numbers: Sequence[int]) -> list[Found]:
    """Return those letters that are there, the oldest first, whatever became of them."""
    letter = dead_letters.c
    return _read(connection, context, [letter.group == context, letter.id.in_(sorted(numbers))], len(numbers))


def _read(connection: Connection, context: str, conditions: Sequence[ColumnElement[bool]], limit: int) -> list[Found]:
    request = letter_requests.c
    behind = (
        select(func.count())
        .where(
            processed_events.c.group == dead_letters.c.group,
            processed_events.c.key == dead_letters.c.key,
            processed_events.c.status == PARKED,
        )
        .scalar_subquery()
    )
    columns = [column for column in dead_letters.c if column.name not in {"raw", "headers"}]
    rows = connection.execute(
        select(*columns, behind.label("behind"), request.action, request.asked_by, request.asked_at, request.due_at)
        .add_columns(request.reason.label("wish"))
        .outerjoin_from(dead_letters, letter_requests, request.letter_id == dead_letters.c.id)
        .where(*conditions)
        .order_by(dead_letters.c.id)
        .limit(limit)
    )
    return [_found(row, context) for row in rows]


def _found(row: Any, context: str) -> Found:
    asked = None
    if row.action is not None:
        asked = Asked(action=row.action, by=row.asked_by, reason=row.wish, asked_at=row.asked_at, due_at=row.due_at)
    return Found(
        name=f"{context}/{row.id}",
        context=context,
        id=row.id,
        status=row.status,
        cause=row.cause,
        reason=row.reason,
        stack_hash=row.stack_hash,
        event_type=row.event_type or "",
        event_id=row.event_id or "",
        key=row.key,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        revision=row.revision,
        created_at=row.created_at,
        parked=row.behind,
        replays=row.replays,
        tried_at=row.tried_at,
        asked=asked,
    )


def grouped(letters: Iterable[Found], quarantine_after: int) -> list[Group]:
    """Return the letters by context, cause and place in the code, the largest group of a context first."""
    by = attrgetter("context", "cause", "stack_hash")
    ordered = sorted(letters, key=lambda one: (one.context, one.cause, one.stack_hash or "", one.created_at, one.id))
    groups = [_group(list(members), quarantine_after) for _, members in groupby(ordered, by)]
    return sorted(groups, key=lambda group: (group.context, -group.letters, group.cause, group.stack_hash or ""))


def _group(members: Sequence[Found], quarantine_after: int) -> Group:
    newest = members[-1]
    return Group(
        context=newest.context,
        cause=newest.cause,
        stack_hash=newest.stack_hash,
        letters=len(members),
        orders=len({letter.key for letter in members}),
        # What waits behind two letters of one order is there once.
        parked=sum({letter.key: letter.parked for letter in members}.values()),
        quarantined=sum(letter.replays >= quarantine_after for letter in members),
        oldest=members[0].created_at,
        newest=newest.created_at,
        example=newest.name,
        reason=newest.reason,
    )


def sheet(connection: Connection, context: str, number: int) -> Sheet | None:
    """Return all there is to say about a letter, if it is there."""
    letters = named(connection, context, [number])
    if not letters:
        return None
    (letter,) = letters
    query = select(dead_letters.c.raw, dead_letters.c.headers).where(dead_letters.c.id == number)
    raw, headers = connection.execute(query).one()
    return Sheet(
        letter=letter,
        headers=msgspec.json.decode(headers, type=dict[str, str]),
        payload=masked(bytes(raw)).decode(errors="replace"),
        size=len(raw),
        behind=_behind(connection, letter),
        deeds=_deeds(connection, letter),
    )


def _behind(connection: Connection, letter: Found) -> tuple[Waiting, ...]:
    if not letter.key or letter.status != OPEN:
        return ()
    event = processed_events.c
    rows = connection.execute(
        select(event.event_type, event.event_id, event.topic, event.processed_at)
        .where(event.group == letter.context, event.key == letter.key, event.status == PARKED)
        .order_by(event.processed_at, event.topic, event.partition, event.offset)
    )
    return tuple(Waiting(event_type=row[0], event_id=row[1], topic=row[2], since=row[3]) for row in rows)


def _deeds(connection: Connection, letter: Found) -> tuple[Deed, ...]:
    trail = audit_trail.c
    rows = connection.execute(
        select(trail.recorded_at, trail.actor, trail.before, trail.after, trail.detail)
        .where(trail.key == letter.key, trail.event_id == letter.event_id, trail.step == SUBJECT)
        .where(trail.actor.is_not(None))
        .order_by(trail.id)
    )
    return tuple(Deed(at=row[0], by=row[1], before=row[2], after=row[3], detail=row[4]) for row in rows)
