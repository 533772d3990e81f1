"""What a load has come to: who was accepted, who has ended and how, and how long it took. Pure.

Every latency counts from the moment at which the order was *meant* to be sent. Counted from when it was sent, a system
that stalls would hold up its own measurement: the orders that it kept from being sent would not be seen to have waited.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Literal

import msgspec


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds that so many percent of the orders took at the most."""

    p50: float
    p95: float
    p99: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a load. Rates are orders per second.

    Attributes:
        rate_achieved: the accepted ones, from the first moment of the schedule to the last acceptance.
        completed_per_second: the completed ones, from the same moment to the last completion.
        seconds: from the same moment to the last answer or end.
        failed: how many were not accepted, by the status that was answered or by what became of the connection.
        unfinished: how many were accepted and not seen to end.
        outcomes: how many have ended in each status, in the words of their flow.
        accept_ms: of the accepted orders; nothing without any.
        complete_ms: of the completed orders; nothing without any.
        observed: where ends were seen: among the broker's messages as they arrive, or by asking the API now and then.
    """

    orders: int
    rate_asked: float
    rate_achieved: float
    seconds: float
    accepted: int
    failed: dict[str, int]
    unfinished: int
    completed_per_second: float
    accept_ms: Quantiles | None
    complete_ms: Quantiles | None
    outcomes: dict[str, int]
    observed: Literal["broker", "api"]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an order has ended: seen ``at`` (seconds), in this status."""

    at: float
    status: str
    completed: bool


def schedule(rate: float, orders: int) -> Sequence[float]:
    """Return when each order is due, in seconds from the first; ``rate`` is orders per second.

    Each moment is a product, not a sum: the last of a million is as exact as the second.
    """
    return [number / rate for number in range(orders)]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least of the values, which are in ascending order, that ``percent`` of them do not exceed.

    The nearest-rank definition: what is returned has been measured.
    """
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def quantiles(seconds: Iterable[float]) -> Quantiles | None:
    """Return the quantiles of durations, or ``None`` if there are none."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    p50, p95, p99 = (round(percentile(ordered, percent) * 1000, 3) for percent in (50, 95, 99))
    return Quantiles(p50=p50, p95=p95, p99=p99)


class Tally:
    """Keeps count of one load. All times are seconds on one clock.

    An end may be told before the acceptance is: the broker can be quicker than the answer. What is told of other
    orders is kept and makes no difference.
    """

    def __init__(self, rate: float, due: Sequence[float]) -> None:
        self._rate = rate
        self._due = due
        self._order_of: dict[str, int] = {}
        self._accepted_at: dict[int, float] = {}
        self._endings: dict[str, Ending] = {}
        self._refused_at: list[float] = []
        self.failed: Counter[str] = Counter()
        self.first_reason = ""
        self.outstanding: set[str] = set()

    def accepted(self, number: int, order_id: str, at: float) -> None:
        """Note that the order that was due as ``number`` got its id."""
        self._accepted_at[number] = at
        self._order_of[order_id] = number
        if order_id not in self._endings:
            self.outstanding.add(order_id)

    def refused(self, kind: str, reason: str, at: float) -> None:
        """Note that an order was not accepted: ``kind`` is what it is counted under."""
        self.failed[kind] += 1
        self.first_reason = self.first_reason or reason
        self._refused_at.append(at)

    def give_up(self, kind: str) -> None:
        """Count every order that is still without an answer as not accepted."""
        missing = self.orders - self.answered
        if missing:
            self.failed[kind] += missing

    def ended(self, order_id: str, ending: Ending) -> None:
        """Note that an order has ended; only the first time counts."""
        self._endings.setdefault(order_id, ending)
        self.outstanding.discard(order_id)

    @property
    def orders(self) -> int:
        """How many orders are to be sent."""
        return len(self._due)

    @property
    def answered(self) -> int:
        """How many orders were accepted or not."""
        return len(self._accepted_at) + len(self._refused_at)

    @property
    def finished(self) -> int:
        """How many orders were accepted and have ended."""
        return len(self._accepted_at) - len(self.outstanding)

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is to come."""
        return self.answered == self.orders and not self.outstanding

    def report(self, observed: Literal["broker", "api"]) -> Report:
        """Sum up."""
        ended = {number: self._endings[o] for o, number in self._order_of.items() if o in self._endings}
        completed = {number: ending.at for number, ending in ended.items() if ending.completed}
        lasts = [*self._accepted_at.values(), *self._refused_at, *(ending.at for ending in ended.values())]
        return Report(
            orders=self.orders,
            rate_asked=self._rate,
            rate_achieved=self._per_second(self._accepted_at.values()),
            seconds=round(max(lasts, default=self._due[0]) - self._due[0], 3),
            accepted=len(self._accepted_at),
            failed=dict(self.failed),
            unfinished=len(self.outstanding),
            completed_per_second=self._per_second(completed.values()),
            accept_ms=self._quantiles(self._accepted_at),
            complete_ms=self._quantiles(completed),
            outcomes=dict(Counter(ending.status for ending in ended.values()).most_common()),
            observed=observed,
        )

    def _quantiles(self, moments: Mapping[int, float]) -> Quantiles | None:
        return quantiles(at - self._due[number] for number, at in moments.items())

    def _per_second(self, moments: Iterable[float]) -> float:
        known = list(moments)
        return round(len(known) / max(max(known) - self._due[0], 1e-9), 3) if known else 0.0


def shortfall(report: Report, first_reason: str, patience: float) -> str:
    """Return what is wrong with the outcome, in one sentence; empty if every order was accepted and has ended."""
    parts = []
    refused = report.orders - report.accepted
    if refused:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(report.failed.items()))
        reason = f"; the first: {first_reason}" if first_reason else ""
        parts.append(f"{refused} of {report.orders} orders were not accepted ({kinds}{reason})")
    if report.unfinished:
        parts.append(f"{report.unfinished} of {report.accepted} accepted orders did not end within {patience:g} s")
    return ", and ".join(parts)
