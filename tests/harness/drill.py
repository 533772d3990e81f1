"""A drill: a whole system with hundreds of orders in flight, something broken on purpose, and what was seen of it.

Every drill ends with the same questions: have all orders come to their end, did those complete whose providers were
well, is ``orderflow verify`` clean. What was seen goes into a record, from which ``docs/drills.md`` has its figures.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness.books import Books, Place, busiest
from harness.customers import Customers
from harness.gauges import Gauges
from harness.seen import Figure, Seen
from harness.system import eventually
from harness.whole import Whole
from orderflow.local.processes import PROGRAM, Program
from orderflow.runtime.ledger import Partition
from orderflow.spec.resource import CONTEXT_PLACEHOLDER, CONTEXTS

IN_FLIGHT: Final = 500
"""Orders that have not come to their end when something is broken."""
SPARE: Final = 80
"""So many more are kept in flight: some end between the count and the fault."""
ENDED: Final = 30
"""Orders that have come to their end by then: others are in every step, and no topic is empty."""
COMPLETED: Final = 0.9
"""The share of orders with healthy providers that must complete."""
END_WITHIN: Final = 400.0
"""Seconds for the last order to end: the asks of a step whose participant was away double up to two minutes."""


class Drill:
    """One drill.

    Args:
        name: of its record.
        folder, spec, program: see :class:`~harness.whole.Whole`.
        database: the URL (with ``{context}``) by which the drill itself looks into the databases, if that is another
            one than the system's.
    """

    def __init__(
        self, name: str, folder: Path, spec: Mapping[str, Any], program: Program = PROGRAM, database: str | None = None
    ) -> None:
        self._database = database
        self.system = Whole(folder, spec, program)
        self.seen = Seen(drill=name, at=datetime.now(UTC).replace(microsecond=0))
        self.gauges = Gauges(self.system.status)
        self.books: Books
        self.customers: Customers
        self._began = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Bring the system up, ask the questions at the end of the block, and take it down."""
        self.system.up()
        with ExitStack() as stack:
            stack.callback(self.system.down)
            self.books = Books(self._urls())
            stack.callback(self.books.close)
            with self.gauges:
                yield
                self.all_end()
            self._count()
            self._check()

    def _urls(self) -> Mapping[str, str]:
        if self._database is None:
            return self.system.deployment.databases
        return {context: self._database.replace(CONTEXT_PLACEHOLDER, context) for context in CONTEXTS}

    @contextmanager
    def ordering(self, enough: int = IN_FLIGHT + SPARE) -> Iterator[Customers]:
        """Keep orders in flight for as long as the block lasts."""
        with Customers(self.system.deployment.gateway, self.books, enough) as customers:
            self.customers = customers
            yield customers

    def enough_in_flight(self) -> None:
        """Wait until enough orders are in flight, in every step; what is done next is done among them."""

        def enough() -> bool:
            self.customers.check()
            return self.books.ended() >= ENDED and self.books.in_flight() >= IN_FLIGHT

        eventually(enough, f"{IN_FLIGHT} orders are in flight", within=300)
        in_flight = self.books.in_flight()
        assert in_flight >= IN_FLIGHT
        # Of several faults the least.
        self.seen.in_flight = min(self.seen.in_flight or in_flight, in_flight)

    def saw(self, **figures: Figure) -> None:
        """Note what showed the fault."""
        self.seen.fault.update(figures)

    def recovered(self, what: str, since: float) -> None:
        """Note that ``what`` goes on again, after what has been broken at ``since``."""
        self.seen.recovery[what] = round(time.monotonic() - since, 1)

    def moves_again(self, what: str, context: str, since: float, before: Mapping[Partition, Place]) -> None:
        """Wait until every partition of the context's busiest topic has moved beyond ``before``, and note when."""
        behind = busiest(before)

        def moves() -> bool:
            now = self.books.ledger(context)
            return all(now[partition].offset > place.offset for partition, place in behind.items())

        eventually(moves, f"the partitions of {context} move again", within=120)
        self.recovered(what, since)

    def all_end(self) -> None:
        """Wait until every order has come to its end, and note how long that took."""
        began = time.monotonic()
        eventually(lambda: self.books.in_flight() == 0, "every order comes to its end", within=END_WITHIN)
        self.seen.ended_after = max(self.seen.ended_after, round(time.monotonic() - began, 1))

    def _count(self) -> None:
        seen, books = self.seen, self.books
        orders, unwell = books.orders(), books.unwell()
        completed = {order for order, phase in orders.items() if phase == "completed"}
        seen.placed, seen.completed = len(orders), len(completed)
        seen.healthy, seen.completed_healthy = len(orders.keys() - unwell), len(completed - unwell)
        seen.retried_calls, seen.asked_again = books.retried_calls(), books.asked_again()
        seen.compensated = books.compensated()
        processed = "orderflow_messages_processed_total"
        seen.duplicates = self.gauges.total(processed, 'outcome="duplicate"')
        seen.repeated = self.gauges.total(processed, 'outcome="repeated"')
        seen.rewinds = self.gauges.total("orderflow_rewinds_total")
        seen.lag = self.gauges.peak("orderflow_consumer_lag")
        seen.stalled = round(self.gauges.stalled, 1)

    def _check(self) -> None:
        seen = self.seen
        accepted, there = sorted(self.customers.accepted), sorted(self.books.orders())
        assert accepted == there, f"{len(accepted)} orders were accepted, {len(there)} are there"
        assert seen.in_flight >= IN_FLIGHT, "the fault was made among too few orders"
        assert seen.healthy > 0, "no order's providers were healthy: that proves nothing"
        assert seen.completed_healthy >= COMPLETED * seen.healthy, (
            f"{seen.completed_healthy} of {seen.healthy} completed whose providers were healthy"
        )
        eventually(lambda: self.system.verified()["ok"], "the verification is clean", within=60)
        seen.seconds = round(time.monotonic() - self._began, 1)


Stage = Callable[..., AbstractContextManager[Drill]]
"""Brings up a system for a drill, by the drill's name and the resource's ``spec``, and keeps the record."""


def awaited(look: Callable[[], Any], what: str, within: float = 60.0) -> float:
    """Wait for something and return how many seconds it took."""
    began = time.monotonic()
    eventually(look, what, within)
    return time.monotonic() - began
