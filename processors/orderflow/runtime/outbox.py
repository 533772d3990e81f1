"""The outbox: messages recorded with the decision that sent them, until the broker has acknowledged them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, Integer, bindparam, exists, func, select

from orderflow.contracts import codec
from orderflow.contracts.envelope import Message
from orderflow.contracts.headers import headers_of
from orderflow.contracts.topics import TOPIC_OF
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.schema import horizons, outbox, processed_events
from orderflow.runtime.statements import Statement

IN_ONE_QUERY = 500
"""Below SQLite's limit of bound parameters with room to spare."""


AHEAD = timedelta(seconds=10)
"""How far the clocks of two processes may differ without a message being published sooner than its writer expects."""


def _young(row: FromClause) -> ColumnElement[bool]:
    return row.c.created_at.between(bindparam("older_than"), bindparam("ahead"))


_before = outbox.alias("before")
# Built once: building a statement costs as much as running it.
_UNPUBLISHED = Statement(
    select(
        outbox.c.id,
        outbox.c.event_id,
        outbox.c.event_type,
        outbox.c.topic,
        outbox.c.key,
        outbox.c.payload,
        outbox.c.headers,
    )
    .where(
        outbox.c.published_at.is_(None),
        ~_young(outbox),
        outbox.c.id > bindparam("after"),
        ~exists().where(
            _before.c.published_at.is_(None), _before.c.key == outbox.c.key, _before.c.id < outbox.c.id, _young(_before)
        ),
    )
    .order_by(outbox.c.id)
    .limit(bindparam("most", type_=Integer))
)
_INSERT = Statement(outbox.insert())
_BLOCKING = Statement(
    select(outbox.c.key, outbox.c.event_id).where(
        outbox.c.published_at.is_(None), outbox.c.key.in_(bindparam("keys", expanding=True))
    )
)
_IS_UNPUBLISHED = Statement(
    select(outbox.c.id).where(outbox.c.event_id == bindparam("at_event_id"), outbox.c.published_at.is_(None))
)
_is_processed = exists().where(
    processed_events.c.group == bindparam("by_group"), processed_events.c.event_id == outbox.c.event_id
)
_may_be_dropped = exists().where(horizons.c.table == processed_events.name, horizons.c.until > outbox.c.created_at)
_DOUBT = (
    outbox.update()
    .where(
        outbox.c.topic == bindparam("to_topic"), outbox.c.published_at.is_not(None), ~_is_processed, ~_may_be_dropped
    )
    .values(published_at=None)
)
_MARK = Statement(
    outbox.update()
    .where(outbox.c.event_id.in_(bindparam("ids", expanding=True)), outbox.c.published_at.is_(None))
    .values(published_at=bindparam("now"))
)


def insert(
    connection: Connection, messages: Sequence[tuple[Message, str | None]], now: datetime
) -> tuple[OutboxRow, ...]:
    """Insert messages, each with the traceparent it continues, in their order, and return their rows."""
    if not messages:
        return ()
    rows = [
        OutboxRow(
            event_id=message.event_id,
            event_type=message.event_type,
            topic=TOPIC_OF[type(message)],
            key=message.key,
            payload=codec.encode(message),
            headers=headers_of(message, traceparent),
        )
        for message, traceparent in messages
    ]
    return insert_rows(connection, rows, now)


def insert_rows(connection: Connection, rows: Sequence[OutboxRow], now: datetime) -> tuple[OutboxRow, ...]:
    """Insert rows as they are, in their order, and return them."""
    _INSERT.run_each(
        connection,
        [
            {
                "event_id": row.event_id,
                "event_type": row.event_type,
                "topic": row.topic,
                "key": row.key,
                "payload": row.payload,
                "headers": msgspec.json.encode(row.headers).decode(),
                "created_at": now,
            }
            for row in rows
        ],
    )
    return tuple(rows)


def blocking(connection: Connection, keys: Iterable[str]) -> dict[str, set[str]]:
    """Return, per key, the event ids of rows that are not marked as published."""
    found: dict[str, set[str]] = {}
    wanted = sorted(set(keys))
    for start in range(0, len(wanted), IN_ONE_QUERY):
        for key, event_id in _BLOCKING.rows(connection, {"keys": wanted[start : start + IN_ONE_QUERY]}):
            found.setdefault(key, set()).add(event_id)
    return found


def mark_published(connection: Connection, event_ids: Iterable[str], now: datetime) -> None:
    """Mark rows that the broker has acknowledged. Needs no allowed revision: it states a fact."""
    wanted = sorted(set(event_ids))
    for start in range(0, len(wanted), IN_ONE_QUERY):
        _MARK.run(connection, {"ids": wanted[start : start + IN_ONE_QUERY], "now": now})


def doubt(connection: Connection, topic: str, group: str) -> int:
    """Have what was sent to ``topic`` published once more if ``group``, of this database, has not processed it.

    For a topic that has lost messages: an outcome that a context sends to itself nobody else asks for again. What is on
    its way all the same comes twice, and the inbox drops it. Where the inbox may have dropped its own rows after their
    time, nothing is doubted.

    Returns:
        How many messages that are.
    """
    return connection.execute(_DOUBT, {"to_topic": topic, "by_group": group}).rowcount


def unpublished(connection: Connection, older_than: datetime, limit: int, after: int = 0) -> list[OutboxRow]:
    """Return unpublished rows created before ``older_than``, in their order, from the one behind id ``after`` on.

    A row that is younger holds back what follows it under its key, however old that looks: each was written by its
    own process's clock. One from further ahead than :data:`AHEAD` is not waited for: it is its clock that is wrong.
    """
    parameters = {"older_than": older_than, "ahead": older_than + AHEAD, "after": after, "most": limit}
    return [
        OutboxRow(
            id=row[0],
            event_id=row[1],
            event_type=row[2],
            topic=row[3],
            key=row[4],
            payload=row[5],
            headers=msgspec.json.decode(row[6], type=dict[str, str]),
        )
        for row in _UNPUBLISHED.rows(connection, parameters)
    ]


def depth(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many rows wait to be published, and since when the oldest does."""
    row = connection.execute(
        select(func.count(), func.min(outbox.c.created_at)).where(outbox.c.published_at.is_(None))
    ).one()
    return row[0], row[1]


def holds(connection: Connection, event_id: str) -> bool:
    """Tell whether the message is here, published or not."""
    return connection.execute(select(outbox.c.id).where(outbox.c.event_id == event_id)).first() is not None


def is_unpublished(connection: Connection, event_id: str) -> bool:
    """Tell whether the message is here and the broker has not acknowledged it yet."""
    return bool(_IS_UNPUBLISHED.rows(connection, {"at_event_id": event_id}))
