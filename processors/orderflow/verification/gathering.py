"""From rows to cases: walks along every database in the order of the keys and brings together what belongs to each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, func, or_, select, union

from orderflow.contexts.analytics.tables import JOURNEYS, business_events
from orderflow.contexts.fulfillment.tables import SHIPMENTS
from orderflow.contexts.inventory.tables import RESERVATIONS
from orderflow.contexts.notification.tables import CORRESPONDENCE
from orderflow.contexts.order.tables import ORDERS, idempotency_keys
from orderflow.contexts.payment.tables import PAYMENTS, payment_transactions
from orderflow.providers.record import Record, provider_records
from orderflow.runtime.columns import Moment
from orderflow.runtime.dead_letters import OPEN as OPEN_LETTER
from orderflow.runtime.inbox import PARKED
from orderflow.runtime.rows import Rows
from orderflow.runtime.schema import audit_trail, dead_letters, outbox, processed_events, tasks
from orderflow.runtime.task_rows import OPEN
from orderflow.verification.case import Case, Edge, Entry, Fact, Letter, OpenTask
from orderflow.verification.reading import Sorted, Walk, keys_of

T = TypeVar("T", bound=msgspec.Struct)

TRAILED = ("order", "payment", "inventory", "fulfillment")
"""The contexts whose aggregates have one status each. A notification's trail is that of several."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A row of states: what it holds, or why that cannot be said; ``fault`` is empty for a sound row."""

    state: T | None
    fault: str = ""


class Snapshots(NamedTuple):
    """Everything there is to read: each context's database and each provider's store, as it is now."""

    contexts: Mapping[str, Connection]
    providers: Sequence[Connection]


def stored(connection: Connection, rows: Rows[T]) -> Iterator[tuple[str, Stored[T]]]:
    """Yield every row of ``rows`` by its key."""
    for values in _walk(rows).mappings(connection):
        yield values[rows.key], _stored(rows, values)


@cache
def _walk(rows: Rows[Any]) -> Walk:
    return Walk(select(rows.table), rows.table.c[rows.key])


def _stored(rows: Rows[T], values: Mapping[str, Any]) -> Stored[T]:
    name = rows.table.name
    if values["state_version"] != rows.state_version:
        return Stored(None, f"its row in {name} has state version {values['state_version']}, which nobody reads")
    try:
        state = rows.decode(values["data"])
    except msgspec.MsgspecError:
        return Stored(None, f"its row in {name} cannot be read")
    differing = [column for column, value in rows.columns(state).items() if values[column] != value]
    if differing:
        return Stored(state, f"the columns {', '.join(differing)} of its row in {name} do not say what its state says")
    return Stored(state)


class Gathering:
    """Yields a case for every key that any database or provider knows.

    Args:
        since: of a running system: what was due before and is still there is overdue. ``None`` where it stands still.
    """

    def __init__(self, snapshots: Snapshots, since: datetime | None) -> None:
        of = snapshots.contexts
        self._online = since is not None
        self._orders = Sorted(stored(of["order"], ORDERS))
        self._payments = Sorted(stored(of["payment"], PAYMENTS))
        self._reservations = Sorted(stored(of["inventory"], RESERVATIONS))
        self._shipments = Sorted(stored(of["fulfillment"], SHIPMENTS))
        self._correspondence = Sorted(stored(of["notification"], CORRESPONDENCE))
        self._journeys = Sorted(stored(of["analytics"], JOURNEYS))
        self._announced = Sorted(_announced(of["order"]))
        self._answers = Sorted(_answers(of["order"]))
        self._entries = Sorted(_entries(of["payment"]))
        self._facts = Sorted(_facts(of["analytics"]))
        self._trails = Sorted(*(_trail(of[name], name) for name in TRAILED))
        self._tasks = Sorted(*(_tasks(connection, name, since) for name, connection in of.items()))
        self._letters = Sorted(*(_letters(connection, name) for name, connection in of.items()))
        self._parked = Sorted(*(_parked(connection, name) for name, connection in of.items()))
        self._records = Sorted(*(_records(connection) for connection in snapshots.providers))

    def __iter__(self) -> Iterator[Case]:
        return (self._case(key) for key in keys_of(self._streams()))

    def _streams(self) -> Sequence[Sorted[Any]]:
        return (
            *(self._orders, self._payments, self._reservations, self._shipments, self._correspondence, self._journeys),
            *(self._announced, self._answers, self._entries, self._facts),
            *(self._trails, self._tasks, self._letters, self._parked, self._records),
        )

    def _case(self, key: str) -> Case:
        rows: list[Stored[Any]] = []

        def state(stream: Sorted[Stored[T]]) -> T | None:
            found = stream.take(key)
            rows.extend(found)
            return found[0].state if found else None

        is_there = self._orders.head == key
        answers = self._answers.take(key)
        trails: dict[str, list[Edge]] = {}
        for context, edge in self._trails.take(key):
            trails.setdefault(context, []).append(edge)
        return Case(
            key=key,
            is_there=is_there,
            order=state(self._orders),
            payment=state(self._payments),
            reservation=state(self._reservations),
            shipment=state(self._shipments),
            correspondence=state(self._correspondence),
            journey=state(self._journeys),
            announced=dict(self._announced.take(key)),
            trails=trails,
            entries=self._entries.take(key),
            facts=self._facts.take(key),
            records=self._records.take(key),
            tasks=self._tasks.take(key),
            letters=self._letters.take(key) + self._parked.take(key),
            answers=len(answers),
            unanswered=answers.count(False),
            faults=tuple(row.fault for row in rows if row.fault),
            is_readable=all(row.state is not None for row in rows),
            online=self._online,
        )


def young_keys(snapshots: Snapshots, since: datetime) -> set[str]:
    """Return the keys about which anything was recorded, sent or done after ``since``."""
    keys: set[str] = set()
    for connections, query in (snapshots.contexts.values(), _RECENT), (snapshots.providers, _RECENTLY_DONE):
        for connection in connections:
            keys.update(connection.scalars(query, {"since": since}))
    return keys


_SINCE = bindparam("since", type_=Moment)
_RECENT = union(
    select(outbox.c.key).where(or_(outbox.c.created_at >= _SINCE, outbox.c.published_at >= _SINCE)),
    select(processed_events.c.key).where(processed_events.c.processed_at >= _SINCE),
    select(tasks.c.key).where(or_(tasks.c.created_at >= _SINCE, tasks.c.ended_at >= _SINCE)),
)
_RECENTLY_DONE = select(provider_records.c.order_id).where(provider_records.c.at >= _SINCE)

_ANNOUNCED = Walk(
    select(outbox.c.key, outbox.c.event_type, func.count())
    .where(outbox.c.event_type.in_(("OrderCreated", "OrderCompleted", "OrderCancelled")))
    .group_by(outbox.c.key, outbox.c.event_type),
    outbox.c.key,
)
_ANSWERS = Walk(
    select(idempotency_keys.c.order_id, idempotency_keys.c.response.is_not(None)).where(
        idempotency_keys.c.order_id.is_not(None)
    ),
    idempotency_keys.c.order_id,
)
_ENTRIES = Walk(
    select(*(payment_transactions.c[name] for name in ("order_id", *Entry._fields))),
    payment_transactions.c.order_id,
    payment_transactions.c.id,
)
_FACTS = Walk(
    select(*(business_events.c[name] for name in ("order_id", *Fact._fields))),
    business_events.c.order_id,
    business_events.c.event_id,
)
_TRAIL = Walk(
    # What has an actor is an act, and no transition of the aggregate.
    select(*(audit_trail.c[name] for name in ("key", *Edge._fields))).where(audit_trail.c.actor.is_(None)),
    audit_trail.c.key,
    audit_trail.c.id,
)
_TASKS = Walk(
    select(tasks.c.key, tasks.c.kind, tasks.c.due_at, tasks.c.claimed_until).where(tasks.c.status == OPEN),
    tasks.c.key,
    tasks.c.task_id,
)
_LETTERS = Walk(
    select(dead_letters.c.key, dead_letters.c.event_type, dead_letters.c.cause).where(
        dead_letters.c.status == OPEN_LETTER
    ),
    dead_letters.c.key,
    dead_letters.c.id,
)
_PARKED = Walk(
    select(processed_events.c.key, processed_events.c.event_type).where(processed_events.c.status == PARKED),
    processed_events.c.key,
    processed_events.c.event_id,
)
_RECORDS = Walk(
    select(*(column for column in provider_records.columns if column.name != "detail")),
    provider_records.c.order_id,
    *provider_records.primary_key.columns,
)


def _announced(connection: Connection) -> Iterator[tuple[str, tuple[str, int]]]:
    return ((row[0], (row[1], row[2])) for row in _ANNOUNCED.rows(connection))


def _answers(connection: Connection) -> Iterator[tuple[str, bool]]:
    """Yield, for each order that an idempotency key names, whether the key has its answer."""
    return ((row[0], bool(row[1])) for row in _ANSWERS.rows(connection))


def _entries(connection: Connection) -> Iterator[tuple[str, Entry]]:
    return ((row[0], Entry(*row[1:])) for row in _ENTRIES.rows(connection))


def _facts(connection: Connection) -> Iterator[tuple[str, Fact]]:
    return ((row[0], Fact(*row[1:])) for row in _FACTS.rows(connection))


def _trail(connection: Connection, context: str) -> Iterator[tuple[str, tuple[str, Edge]]]:
    return ((row[0], (context, Edge(*row[1:]))) for row in _TRAIL.rows(connection))


def _tasks(connection: Connection, context: str, since: datetime | None) -> Iterator[tuple[str, OpenTask]]:
    for key, kind, due_at, claimed_until in _TASKS.rows(connection):
        overdue = since is not None and due_at < since and (claimed_until is None or claimed_until < since)
        yield key, OpenTask(context, kind, overdue)


def _letters(connection: Connection, context: str) -> Iterator[tuple[str, Letter]]:
    return ((row[0], Letter(context, row[1] or "", row[2])) for row in _LETTERS.rows(connection))


def _parked(connection: Connection, context: str) -> Iterator[tuple[str, Letter]]:
    return ((row[0], Letter(context, row[1], PARKED)) for row in _PARKED.rows(connection))


def _records(connection: Connection) -> Iterator[tuple[str, Record]]:
    return ((row["order_id"], Record(**row)) for row in _RECORDS.mappings(connection))
