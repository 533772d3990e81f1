"""Checks of the messages: what was sent was processed, what was processed was sent, and nothing twice.

All outboxes and all inboxes are walked along together, in the order of the messages' ids.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Select, and_, bindparam, func, select

from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.envelope import Message
from orderflow.contracts.registry import TYPES
from orderflow.runtime.columns import Moment
from orderflow.runtime.context import Context
from orderflow.runtime.inbox import DEAD, DISCARDED
from orderflow.runtime.incoming import NOWHERE
from orderflow.runtime.letters import REPLAYED
from orderflow.runtime.schema import consumed_offsets, dead_letters, outbox, processed_events
from orderflow.runtime.statements import Statement
from orderflow.verification.dropped import Horizons
from orderflow.verification.reading import Walk, merged
from orderflow.verification.report import Findings

FROM_OUTSIDE: frozenset[type[Message]] = frozenset({CreateOrder, ChangeOrderStatus})
"""What anybody may ask of the order context, over the broker as well as over its API."""

Takers = Mapping[tuple[str, str], tuple[str, ...]]
"""Per topic and message type, the contexts that take it."""

NEVER = datetime.max.replace(tzinfo=UTC)
"""Since then nothing has happened."""

_OUTSIDE = frozenset(kind.__name__ for kind in FROM_OUTSIDE)


class Sent(NamedTuple):
    """A row of an outbox, written ``at``. ``young``: so recent that those who take it may not have come to it yet."""

    context: str
    event_type: str
    topic: str
    key: str
    payload: bytes
    published: bool
    young: bool
    at: datetime


class Received(NamedTuple):
    """A row of an inbox, written ``at``.

    ``let_in``: it was a dead letter, and somebody has vouched for it by replaying it. ``young``: so recent that the
    snapshot of its sender may be older.
    """

    context: str
    event_type: str
    key: str
    digest: str
    status: str
    partition: int
    let_in: bool
    young: bool
    at: datetime


def check(
    connections: Mapping[str, Connection],
    contexts: Mapping[str, Context[Any]],
    since: datetime | None,
    horizons: Horizons,
    findings: Findings,
) -> None:
    """Hold all outboxes against all inboxes; what is younger than ``since`` is left alone."""
    takers = takers_of(contexts)
    sources: list[Iterator[tuple[str, Sent | Received]]] = [
        read(connection, name, since or NEVER)
        for name, connection in connections.items()
        for read in (_sent, _received)
    ]
    for event_id, group in groupby(merged(sources), itemgetter(0)):
        sent: list[Sent] = []
        received: list[Received] = []
        for _, row in group:
            if isinstance(row, Sent):
                sent.append(row)
            else:
                received.append(row)
        _check_message(event_id, sent, received, takers, horizons, findings)


def _check_message(
    event_id: str,
    sent: list[Sent],
    received: list[Received],
    takers: Takers,
    horizons: Horizons,
    findings: Findings,
) -> None:
    for row in sent:
        wanted = _wanted(row, takers, received, horizons, findings)
        findings.looked("outbox-published")
        _add(findings, "outbox-published", unpublished(event_id, row), row)
        findings.looked("message-processed", len(wanted))
        _add(findings, "message-processed", unprocessed(event_id, row, wanted, received), row)
    for taken in received:
        if not sent and horizons.may_lack_sender(taken.at):
            findings.lacked("message-sent")
            continue
        findings.looked("message-sent")
        _add(findings, "message-sent", unsent(event_id, taken, sent), taken)
    if len(sent) > 1:
        twice = f"{event_id} was sent by {' and '.join(row.context for row in sent)}"
        _add(findings, "message-sent", [twice], sent[0])


def _wanted(
    row: Sent, takers: Takers, received: list[Received], horizons: Horizons, findings: Findings
) -> tuple[str, ...]:
    """Return the contexts that have to have processed the message; one that may have dropped it does not."""
    everybody = takers.get((row.topic, row.event_type), ())
    there = {taken.context for taken in received}
    gone = {
        name
        for name in everybody
        if name not in there and row.published and horizons.may_lack(name, "processed_events", row.at)
    }
    for _ in gone:
        findings.lacked("message-processed")
    return tuple(name for name in everybody if name not in gone)


def _add(findings: Findings, promise: str, details: Iterable[str], row: Sent | Received) -> None:
    for detail in details:
        findings.add(promise, [detail], row.key, is_order=is_about_order(row.event_type))


def takers_of(contexts: Mapping[str, Context[Any]]) -> Takers:
    """Return, per topic and message type, the contexts that take it."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for context in contexts.values():
        for topic, kinds in context.takes.items():
            for kind in kinds:
                place = (topic, kind.__name__)
                found[place] = (*found.get(place, ()), context.name)
    return found


def is_about_order(event_type: str) -> bool:
    """Tell whether messages of this type are keyed by the order that they are about."""
    kind = TYPES.get(event_type)
    return kind is None or kind.KEY == "order_id"


def unpublished(event_id: str, sent: Sent) -> Iterator[str]:
    """Say that a message has waited for too long."""
    if not sent.published and not sent.young:
        yield f"{_named(sent, event_id)} of {sent.context} is not published"


def unprocessed(event_id: str, sent: Sent, takers: tuple[str, ...], received: list[Received]) -> Iterator[str]:
    """Say who has not processed a message that was sent, or not as it was sent."""
    # What is not published yet is told of by another promise.
    if not takers or sent.young or not sent.published:
        return
    by_context = {row.context: row for row in received}
    digest = hashlib.sha256(sent.payload).hexdigest()
    for name in takers:
        row = by_context.get(name)
        if row is None:
            yield f"{name} has not processed {_named(sent, event_id)}, sent by {sent.context}"
        elif row.digest != digest:
            yield f"{name} has processed {_named(sent, event_id)} with other bytes than {sent.context} has sent"


def unsent(event_id: str, received: Received, sent: list[Sent]) -> Iterator[str]:
    """Say that a message was processed that nobody has sent.

    What could not be decided may come from anywhere, and so may what somebody has then let in.
    """
    is_ours = received.partition != NOWHERE and received.event_type not in _OUTSIDE and not received.let_in
    if is_ours and not sent and received.status not in {DEAD, DISCARDED} and not received.young:
        yield f"{received.context} has processed {received.event_type} {event_id}, which nobody has sent"


def behind(connection: Connection, context: str) -> Iterator[tuple[str, str]]:
    """Yield each partition whose ledger is behind what was processed of it, and the sentence that says so."""
    for topic, partition, offset, recorded in _REACHED.rows(connection, {"context": context}):
        if recorded < offset:
            yield f"{topic}[{partition}]", f"{context} has processed offset {offset}, its ledger stands at {recorded}"


def partitions(connection: Connection, context: str) -> int:
    """Return how many partitions the ledger knows."""
    return int(_PARTITIONS.rows(connection, {"context": context})[0][0])


def _reached() -> Select[*tuple[Any, ...]]:
    """Return the query for the offsets that were processed last, and where the ledger stands.

    The last row processed counts, and not the highest offset: a topic that was made anew begins at 0 again.
    """
    done, ledger = processed_events.c, consumed_offsets.c
    of: BindParameter[str] = bindparam("context")
    last = (
        select(done.topic, done.partition, func.max(done.processed_at).label("at"))
        .where(done.group == of, done.partition != NOWHERE)
        .group_by(done.topic, done.partition)
        .subquery()
        .c
    )
    is_last = and_(done.topic == last.topic, done.partition == last.partition, done.processed_at == last.at)
    is_there = and_(ledger.group == of, ledger.topic == done.topic, ledger.partition == done.partition)
    return (
        select(done.topic, done.partition, func.max(done.offset), func.coalesce(func.max(ledger.offset), NOWHERE))
        .join(last.at.table, is_last)
        .outerjoin(consumed_offsets, is_there)
        .where(done.group == of)
        .group_by(done.topic, done.partition)
        .order_by(done.topic, done.partition)
    )


_REACHED = Statement(_reached())
_PARTITIONS = Statement(
    select(func.count()).select_from(consumed_offsets).where(consumed_offsets.c.group == bindparam("context"))
)

_SINCE = bindparam("since", type_=Moment)
_SENT = Walk(
    select(
        outbox.c.event_id,
        outbox.c.event_type,
        outbox.c.topic,
        outbox.c.key,
        outbox.c.payload,
        outbox.c.published_at.is_not(None),
        # What was published late is waited for from then on.
        func.coalesce(outbox.c.published_at, outbox.c.created_at) >= _SINCE,
        outbox.c.created_at,
    ),
    outbox.c.event_id,
)
_RECEIVED = Walk(
    select(
        processed_events.c.event_id,
        processed_events.c.event_type,
        processed_events.c.key,
        processed_events.c.hash,
        processed_events.c.status,
        processed_events.c.topic,
        processed_events.c.partition,
        processed_events.c.offset,
        processed_events.c.processed_at >= _SINCE,
        processed_events.c.processed_at,
    ).where(processed_events.c.group == bindparam("context")),
    processed_events.c.event_id,
)
_LET_IN = Statement(
    select(dead_letters.c.topic, dead_letters.c.partition, dead_letters.c.offset).where(
        dead_letters.c.group == bindparam("context"), dead_letters.c.status == REPLAYED
    )
)


def _named(row: Sent, event_id: str) -> str:
    return f"{row.event_type} {event_id}"


def _sent(connection: Connection, context: str, since: datetime) -> Iterator[tuple[str, Sent]]:
    for event_id, event_type, topic, key, payload, published, young, at in _SENT.rows(connection, since=since):
        yield event_id, Sent(context, event_type, topic, key, payload, bool(published), bool(young), at)


def _received(connection: Connection, context: str, since: datetime) -> Iterator[tuple[str, Received]]:
    let_in = set(_LET_IN.rows(connection, {"context": context}))
    rows = _RECEIVED.rows(connection, context=context, since=since)
    for event_id, event_type, key, digest, status, topic, partition, offset, young, at in rows:
        is_let_in = (topic, partition, offset) in let_in
        yield event_id, Received(context, event_type, key, digest, status, partition, is_let_in, bool(young), at)
