"""What a verification found: every promise by name, with what breaks it.

No text here quotes a payload: a violation names identifiers, statuses, amounts and counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from orderflow.contracts.money import ZERO

SHOWN: Final = 20
"""Violations kept per promise: who reads more than that counts them, and the count is always whole."""

PROMISES: Final[Mapping[str, str]] = {
    "order-accepted": "Every accepted order is there and was announced once, and nobody knows an order that is not",
    "key-answered": "Every idempotency key has one answer, and the order that it names is there",
    "order-terminal": "Every order has reached its end, or something will move it on",
    "ended-once": "Every order ends once, as it says, and its end was announced once",
    "audit-trail": "The audit trail leads from the beginning to today's status, by legal steps, without a gap",
    "completed-as-planned": "A completed order has what its plan says: charged once and kept, consumed, shipped",
    "cancelled-keeps-nothing": "A cancelled or failed order keeps nothing: refunded, given back, not shipped",
    "one-capture": "No order is captured twice, in our ledger or in the card provider's record",
    "ledger-balances": "The ledger's debits equal its credits, per transaction and in total",
    "money-accounted": "Captured = kept + refunded, and the payments say what the ledger says",
    "card-agrees": "Our ledger and the card provider's record agree, both ways",
    "stock-adds-up": "Available + reserved + consumed = initial + restocked, and nothing is below zero",
    "stock-held": "What is reserved and consumed of a product is what the reservations hold",
    "catalogue-current": "The catalogue that orders take their prices from shows the stock as it is",
    "one-shipment": "No order is shipped twice",
    "carrier-agrees": "Our shipments and the carrier's record agree, both ways",
    "notified-once": "Nobody is told the same thing twice on a channel, and every delivery belongs to a notification",
    "windows-add-up": "The figures of every window are those of its events",
    "facts-counted": "Each order's events are counted once",
    "analytics-agrees": "What analytics has counted of an order is what happened to it",
    "outbox-published": "Every message in an outbox has been published",
    "message-processed": "Every message was processed by each context that takes it, with the bytes that were sent",
    "message-sent": "No message comes out of nothing",
    "letter-settled": "A dead letter is replayed or discarded once, by a named act, and nothing waits behind none",
    "offset-recorded": "The ledger of offsets is not behind what was processed",
    "task-settled": "No call to the outside is open, and nothing that is due is left lying",
    "outcome-recorded": "Every task that was done has its outcome in the outbox, and no outcome lacks its task",
    "state-readable": "Every state can be read by this code, and the columns beside it say the same",
    "decision-replays": "A recorded decision, decided again from what was recorded, is the same to the byte",
}
"""Every promise that is checked: its stable name, and what it says."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Violation(_Part, frozen=True, kw_only=True):
    """One thing that breaks a promise: the order it is about, or else what it is about (a product, a window, ...)."""

    detail: str
    order_id: str | None = None
    subject: str | None = None


class PromiseReport(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """One promise: how many things were looked at, how many break it, and the first of these.

    ``dropped`` is how many could not be held to it, because what would show it was dropped after its time.
    """

    name: str
    promise: str
    ok: bool
    checked: int
    dropped: int
    violated: int
    violations: tuple[Violation, ...]


class OpenLetter(_Part, frozen=True, kw_only=True):
    """A message that could not be decided and that nobody has dealt with: its order may have stopped, and is not lost.

    ``order_id`` is the message's key, which is empty where none could be made out.
    """

    order_id: str
    context: str
    event_type: str
    cause: str


class DroppedPeriod(_Part, frozen=True, kw_only=True):
    """What a context has dropped from one of its tables: ``rows`` in all, every one of them from before ``until``."""

    context: str
    table: str
    until: datetime
    rows: int


class Totals(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """How it all adds up. Amounts have two places; ``kept`` is what was captured of orders and not given back."""

    completed: int = 0
    cancelled: int = 0
    live: int = 0
    captured: Decimal = ZERO
    kept: Decimal = ZERO
    refunded: Decimal = ZERO


class Report(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """The outcome of a verification.

    Attributes:
        ok: whether something was verified and nothing breaks a promise.
        orders: how many orders were looked at.
        left_alone: how many were too young to be judged (online alone).
        problems: why there was nothing, or not all, to verify; a sentence each.
        dead_letters: how many messages wait for somebody to look at them; ``letters`` are the first of them.
        dropped: what is not there any more, because it had had its time.
    """

    ok: bool
    orders: int
    left_alone: int
    problems: tuple[str, ...]
    promises: tuple[PromiseReport, ...]
    totals: Totals
    dead_letters: int
    letters: tuple[OpenLetter, ...]
    dropped: tuple[DroppedPeriod, ...] = ()


class Findings:
    """Collects what the checks find: all of it counted, a bounded part of it kept."""

    def __init__(self) -> None:
        self._checked: Counter[str] = Counter()
        self._violated: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._shown: dict[str, list[Violation]] = {name: [] for name in PROMISES}

    def looked(self, promise: str, times: int = 1) -> None:
        """Note that so many things were held against ``promise``."""
        self._checked[promise] += times

    def lacked(self, promise: str) -> None:
        """Note that something could not be held against ``promise``: what it takes was dropped after its time."""
        self._dropped[promise] += 1

    def add(self, promise: str, details: Iterable[str], about: str, *, is_order: bool = True) -> None:
        """Note what breaks ``promise``: about an order, or else about something that goes by that name."""
        for detail in details:
            self._violated[promise] += 1
            if len(self._shown[promise]) < SHOWN:
                named = {"order_id": about} if is_order else {"subject": about}
                self._shown[promise].append(Violation(detail=detail, **named))

    @property
    def promises(self) -> tuple[PromiseReport, ...]:
        """Every promise, in the order in which they are named."""
        return tuple(
            PromiseReport(
                name=name,
                promise=promise,
                ok=not self._violated[name],
                checked=self._checked[name],
                dropped=self._dropped[name],
                violated=self._violated[name],
                violations=tuple(self._shown[name]),
            )
            for name, promise in PROMISES.items()
        )


def failed(*problems: str) -> Report:
    """Return the report of a verification that could not begin."""
    return Report(
        ok=False,
        orders=0,
        left_alone=0,
        problems=problems,
        promises=(),
        totals=Totals(),
        dead_letters=0,
        letters=(),
    )
