"""Checks of the messages: what was sent was processed, what was processed was sent, and nothing twice.

All outboxes and all inboxes are walked along together, in the order of the messages' ids.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, literal, select

from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.envelope import Message
from orderflow.contracts.registry import TYPES
from orderflow.runtime.context import Context
from orderflow.runtime.inbox import DEAD
from orderflow.runtime.incoming import NOWHERE
from orderflow.runtime.schema import consumed_offsets, outbox, processed_events
from orderflow.verification.reading import by, merged, rows_of
from orderflow.verification.report import Findings

FROM_OUTSIDE: frozenset[type[Message]] = frozenset({CreateOrder, ChangeOrderStatus})
"""What anybody may ask of the order context, over the broker as well as over its API."""

Takers = Mapping[tuple[str, str], tuple[str, ...]]
"""Per topic and message type, the contexts that take it."""

_OUTSIDE = frozenset(kind.__name__ for kind in FROM_OUTSIDE)


class Sent(NamedTuple):
    """A row of an outbox. ``young``: so recent that those who take it may not have come to it yet."""

    context: str
    event_type: str
    topic: str
    key: str
    payload: bytes
    published: bool
    young: bool


class Received(NamedTuple):
    """A row of an inbox. ``young``: so recent that the snapshot of its sender may be older."""

    context: str
    event_type: str
    key: str
    digest: str
    status: str
    partition: int
    young: bool


def check(
    connections: Mapping[str, Connection],
    contexts: Mapping[str, Context[Any]],
    since: datetime | None,
    findings: Findings,
) -> None:
    """Hold all outboxes against all inboxes; what is younger than ``since`` is left alone."""
    takers = takers_of(contexts)
    sources: list[Iterator[tuple[str, Sent | Received]]] = [
        read(connection, name, since) for name, connection in connections.items() for read in (_sent, _received)
    ]
    for event_id, group in groupby(merged(sources), itemgetter(0)):
        sent: list[Sent] = []
        received: list[Received] = []
        for _, row in group:
            if isinstance(row, Sent):
                sent.append(row)
            else:
                received.append(row)
        _check_message(event_id, sent, received, takers, findings)


def _check_message(
    event_id: str, sent: list[Sent], received: list[Received], takers: Takers, findings: Findings
) -> None:
    for row in sent:
        wanted = takers.get((row.topic, row.event_type), ())
        findings.looked("outbox-published")
        _add(findings, "outbox-published", unpublished(event_id, row), row)
        findings.looked("message-processed", len(wanted))
        _add(findings, "message-processed", unprocessed(event_id, row, wanted, received), row)
    for taken in received:
        findings.looked("message-sent")
        _add(findings, "message-sent", unsent(event_id, taken, sent), taken)
    if len(sent) > 1:
        twice = f"{event_id} was sent by {' and '.join(row.context for row in sent)}"
        _add(findings, "message-sent", [twice], sent[0])


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
    """Say that a message was processed that nobody has sent. What could not be decided may come from anywhere."""
    is_ours = received.partition != NOWHERE and received.event_type not in _OUTSIDE
    if is_ours and not sent and received.status != DEAD and not received.young:
        yield f"{received.context} has processed {received.event_type} {event_id}, which nobody has sent"


def behind(connection: Connection, context: str) -> Iterator[tuple[str, str]]:
    """Yield each partition whose ledger is behind what was processed of it, and the sentence that says so.

    The last row processed counts, and not the highest offset: a topic that was made anew begins at 0 again.
    """
    table, ledger = processed_events.c, consumed_offsets.c
    last = (
        select(table.topic, table.partition, func.max(table.processed_at).label("at"))
        .where(table.group == context, table.partition != NOWHERE)
        .group_by(table.topic, table.partition)
        .subquery()
    )
    reached = (
        select(table.topic, table.partition, func.max(table.offset).label("offset"))
        .join(
            last,
            and_(table.topic == last.c.topic, table.partition == last.c.partition, table.processed_at == last.c.at),
        )
        .where(table.group == context)
        .group_by(table.topic, table.partition)
        .subquery()
    )
    query = (
        select(reached.c.topic, reached.c.partition, reached.c.offset, func.coalesce(ledger.offset, NOWHERE))
        .outerjoin(
            consumed_offsets,
            and_(
                ledger.group == context,
                ledger.topic == reached.c.topic,
                ledger.partition == reached.c.partition,
            ),
        )
        .order_by(reached.c.topic, reached.c.partition)
    )
    for topic, partition, offset, recorded in connection.execute(query):
        if recorded < offset:
            yield f"{topic}[{partition}]", f"{context} has processed offset {offset}, its ledger stands at {recorded}"


def partitions(connection: Connection, context: str) -> int:
    """Return how many partitions the ledger knows."""
    query = select(func.count()).select_from(consumed_offsets).where(consumed_offsets.c.group == context)
    return connection.scalar(query) or 0


def _named(row: Sent, event_id: str) -> str:
    return f"{row.event_type} {event_id}"


def _sent(connection: Connection, context: str, since: datetime | None) -> Iterator[tuple[str, Sent]]:
    table = outbox.c
    # What was published late is waited for from then on.
    moment = func.coalesce(table.published_at, table.created_at)
    young = literal(False) if since is None else moment >= since
    query = select(
        table.event_id,
        table.event_type,
        table.topic,
        table.key,
        table.payload,
        table.published_at.is_not(None),
        young,
    ).order_by(by(connection, table.event_id))
    for row in rows_of(connection, query):
        yield row[0], Sent(context, row[1], row[2], row[3], row[4], bool(row[5]), bool(row[6]))


def _received(connection: Connection, context: str, since: datetime | None) -> Iterator[tuple[str, Received]]:
    table = processed_events.c
    young = literal(False) if since is None else table.processed_at >= since
    query = (
        select(table.event_id, table.event_type, table.key, table.hash, table.status, table.partition, young)
        .where(table.group == context)
        .order_by(by(connection, table.event_id))
    )
    for row in rows_of(connection, query):
        yield row[0], Received(context, row[1], row[2], row[3], row[4], row[5], bool(row[6]))
