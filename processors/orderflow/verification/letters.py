"""Checks of the dead letters: each is decided once or never, by a named act, and nothing waits behind none."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, and_, bindparam, exists, func, select

from orderflow.runtime.columns import Moment
from orderflow.runtime.dead_letters import OPEN
from orderflow.runtime.inbox import DEAD, DISCARDED, PARKED
from orderflow.runtime.letters import DISCARDED as LET_GO
from orderflow.runtime.letters import REPLAYED
from orderflow.runtime.schema import audit_trail, dead_letters, letter_requests, processed_events
from orderflow.runtime.statements import Statement
from orderflow.verification.dropped import Horizons
from orderflow.verification.messages import NEVER, is_about_order
from orderflow.verification.work import Fault

UNDECIDED: Final = frozenset({DEAD, PARKED, DISCARDED})
"""What stands in the inbox beside a message that no decision was made on."""

_COUNT = Statement(select(func.count()).select_from(dead_letters))
_GROUP: BindParameter[str] = bindparam("context")
_IS_ITS_MESSAGE = and_(
    processed_events.c.group == dead_letters.c.group, processed_events.c.event_id == dead_letters.c.event_id
)
_LETTERS = (
    select(dead_letters, processed_events.c.status.label("stands"), processed_events.c.hash.label("digest"))
    .outerjoin_from(dead_letters, processed_events, _IS_ITS_MESSAGE)
    .where(dead_letters.c.group == _GROUP)
    .order_by(dead_letters.c.id)
)
_ACTS = Statement(
    select(audit_trail.c.key, audit_trail.c.event_id, audit_trail.c.after).where(
        audit_trail.c.actor.is_not(None), audit_trail.c.after.in_((REPLAYED, LET_GO))
    )
)
_STOPPED = exists().where(
    dead_letters.c.group == processed_events.c.group,
    dead_letters.c.key == processed_events.c.key,
    dead_letters.c.status == OPEN,
)
_LEFT_BEHIND = Statement(
    select(processed_events.c.key, processed_events.c.event_type, processed_events.c.event_id)
    .where(processed_events.c.group == _GROUP, processed_events.c.status == PARKED, ~_STOPPED)
    .order_by(processed_events.c.key, processed_events.c.event_id)
)
_ASKED = Statement(
    select(dead_letters.c.id, dead_letters.c.key, dead_letters.c.event_type, letter_requests.c.action)
    .join_from(letter_requests, dead_letters, dead_letters.c.id == letter_requests.c.letter_id)
    .where(letter_requests.c.due_at < bindparam("since", type_=Moment))
    .order_by(dead_letters.c.id)
)


def number(connection: Connection) -> int:
    """Return how many dead letters there are."""
    return int(_COUNT.rows(connection, {})[0][0])


def faults(connection: Connection, context: str, since: datetime | None, horizons: Horizons) -> Iterator[Fault]:
    """Yield what is wrong with the dead letters of ``context``; what was asked for after ``since`` may be under way.

    What shows how a letter was settled may have been dropped: such a letter is not judged.
    """
    acts = set(_ACTS.rows(connection, {}))
    for letter in connection.execute(_LETTERS, {"context": context}):
        if _may_lack_something(letter, context, horizons):
            continue
        for detail in _of_letter(letter, acts):
            yield _fault(letter.key, letter.event_type, f"dead letter {letter.id} of {context} {detail}")
    for key, event_type, event_id in _LEFT_BEHIND.rows(connection, {"context": context}):
        yield _fault(key, event_type, f"{event_type} {event_id} is parked in {context}, and no dead letter is open")
    for letter_id, key, event_type, action in _ASKED.rows(connection, {"since": since or NEVER}):
        yield _fault(key, event_type, f"to {action} dead letter {letter_id} of {context} was asked, and nobody does it")


def _fault(key: str, event_type: str | None, detail: str) -> Fault:
    return Fault(key, is_about_order(event_type or ""), detail)


def _may_lack_something(letter: Any, context: str, horizons: Horizons) -> bool:
    if letter.stands is None and horizons.may_lack(context, "processed_events", letter.created_at):
        return True
    return letter.tried_at is not None and horizons.may_lack(context, "audit_trail", letter.tried_at)


def _of_letter(letter: Any, acts: set[tuple[Any, ...]]) -> Iterator[str]:
    if letter.digest is not None and letter.digest != hashlib.sha256(letter.raw).hexdigest():
        # Its id is another message's, which has the row.
        return
    match letter.status:
        case "open" if letter.stands != DEAD:
            yield f"is open, and its message is {letter.stands or 'unknown'}"
        case "replayed" if letter.stands is None or letter.stands in UNDECIDED:
            yield f"was replayed, and its message is {letter.stands or 'unknown'}"
        case "discarded" if letter.stands != DISCARDED:
            yield f"was discarded, and its message is {letter.stands or 'unknown'}"
    if letter.status in {REPLAYED, LET_GO} and (letter.key, letter.event_id, letter.status) not in acts:
        yield f"was {letter.status}, and nobody says that it was them"
