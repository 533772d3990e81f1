"""All that is known of one order, from every database and every provider: what the checks are functions of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from orderflow.contexts.analytics.state import Journey
from orderflow.contexts.fulfillment.state import Shipment
from orderflow.contexts.inventory.state import Reservation
from orderflow.contexts.notification.state import Correspondence
from orderflow.contexts.order.state import Order
from orderflow.contexts.payment.state import Payment
from orderflow.providers.record import Record


class Edge(NamedTuple):
    """One line of an audit trail, and the type of the message that caused it."""

    before: str
    after: str
    event_type: str


class Entry(NamedTuple):
    """One entry of the double-entry ledger."""

    payment_id: str
    kind: str
    account: str
    debit: Decimal
    credit: Decimal


class Fact(NamedTuple):
    """One business event of analytics."""

    event_type: str
    at: datetime
    amount: Decimal | None


class OpenTask(NamedTuple):
    """A task that has not ended; ``overdue`` if it has been due for longer than the grace, and is nobody's."""

    context: str
    kind: str
    overdue: bool


class Letter(NamedTuple):
    """An open dead letter or, with the cause ``parked``, a message that waits behind one."""

    context: str
    event_type: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One order, or whatever else a message or task is keyed by.

    Attributes:
        is_there: whether the order context has a row of it, be it readable or not.
        announced: how often each of the order's own events stands in its outbox.
        trails: the audit trail of each context.
        answers: idempotency keys that name the order; ``unanswered`` those of them without an answer.
        faults: what is wrong with the rows themselves; ``is_readable`` unless one of them has no state to go by.
        online: whether the system is running: what waits may be on its way.
    """

    key: str
    is_there: bool
    order: Order | None
    payment: Payment | None
    reservation: Reservation | None
    shipment: Shipment | None
    correspondence: Correspondence | None
    journey: Journey | None
    announced: Mapping[str, int]
    trails: Mapping[str, Sequence[Edge]]
    entries: tuple[Entry, ...]
    facts: tuple[Fact, ...]
    records: tuple[Record, ...]
    tasks: tuple[OpenTask, ...]
    letters: tuple[Letter, ...]
    answers: int
    unanswered: int
    faults: tuple[str, ...]
    is_readable: bool
    online: bool

    @property
    def is_order(self) -> bool:
        """Whether the key is an order's, known or not."""
        return bool(self.is_there or self.known_to or self.announced or self.answers)

    @property
    def known_to(self) -> tuple[str, ...]:
        """Who has something of the order, besides the order context."""
        held = {
            "payment": self.payment or self.entries,
            "inventory": self.reservation,
            "fulfillment": self.shipment,
            "notification": self.correspondence,
            "analytics": self.journey or self.facts,
            "the providers": self.records,
        }
        trails = {context for context, trail in self.trails.items() if trail and context != "order"}
        return tuple(name for name, what in held.items() if what or name in trails)

    @property
    def stopped(self) -> frozenset[str]:
        """The contexts in which a message of the order could not be decided, or waits behind one that could not."""
        return frozenset(letter.context for letter in self.letters)

    def is_settled(self, *contexts: str) -> bool:
        """Whether nothing more is to be expected of ``contexts``: what they say of the order now is their word."""
        under_way = {task.context for task in self.tasks if task.kind == "call"} if self.online else set()
        return not (self.stopped | under_way) & set(contexts)

    def done(self, provider: str, operation: str, status: str) -> list[Record]:
        """Return what ``provider`` has recorded of the order as having been done."""
        return [
            record
            for record in self.records
            if (record.provider, record.operation, record.status) == (provider, operation, status)
        ]
