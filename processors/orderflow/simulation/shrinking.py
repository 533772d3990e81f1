"""From a schedule that breaks something to a short one that breaks it too.

Everything that a schedule holds can be left out by itself: an order, a change, what befalls somebody, a fault at its
point, the differences between delays. Halves are left out first, then quarters, down to single items, for as long as
what remains still breaks the same promise (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input").
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from orderflow.simulation.playing import Outcome, Player, Schedule

T = TypeVar("T")

TRIES = 400
"""Runs that a search may take: half a minute."""


def shrunk(player: Player, outcome: Outcome, tries: int = TRIES) -> Outcome:
    """Return a run that breaks the promise that ``outcome`` breaks, with as little in it as ``tries`` runs find."""
    return _Search(player, outcome, tries).best


class _Search:
    def __init__(self, player: Player, outcome: Outcome, tries: int) -> None:
        self._player = player
        self._promise = _name(outcome.breaches[0])
        self._left = tries
        self.best = outcome
        self._shrink()

    def _shrink(self) -> None:
        before = -1
        while self._left > 0 and before != (before := _size(self.best.schedule)):
            self._without_jitter()
            self._less(list(self.best.schedule.faults.items()), lambda it, left: replace(it, faults=dict(left)))
            self._less(list(self.best.schedule.plan.befalling), _with_befalling)
            self._less(list(self.best.schedule.plan.changes), _with_changes)
            self._less(list(self.best.schedule.plan.orders), _with_orders)
            self._fewer_workers()

    def _holds(self, schedule: Schedule) -> bool:
        """Play ``schedule``; if it breaks the promise, it is the best so far."""
        if self._left <= 0:
            return False
        self._left -= 1
        outcome = self._player.schedule(schedule)
        if not any(_name(breach) == self._promise for breach in outcome.breaches):
            return False
        self.best = outcome
        return True

    def _less(self, items: Sequence[T], make: Callable[[Schedule, Sequence[T]], Schedule]) -> None:
        size = len(items)
        while size >= 1 and self._left > 0:
            start = 0
            while start < len(items):
                remaining = [*items[:start], *items[start + size :]]
                if self._holds(make(self.best.schedule, remaining)):
                    items = remaining
                else:
                    start += size
            size //= 2

    def _without_jitter(self) -> None:
        if self.best.schedule.jitter:
            self._holds(replace(self.best.schedule, jitter=False))

    def _fewer_workers(self) -> None:
        plan = self.best.schedule.plan
        for name, number in plan.workers.items():
            if number > 1:
                fewer = replace(self.best.schedule.plan, workers={**self.best.schedule.plan.workers, name: 1})
                self._holds(replace(self.best.schedule, plan=fewer))


def _with_befalling(schedule: Schedule, left: Sequence[object]) -> Schedule:
    return replace(schedule, plan=replace(schedule.plan, befalling=tuple(left)))


def _with_changes(schedule: Schedule, left: Sequence[object]) -> Schedule:
    return replace(schedule, plan=replace(schedule.plan, changes=tuple(left)))


def _with_orders(schedule: Schedule, left: Sequence[object]) -> Schedule:
    return replace(schedule, plan=replace(schedule.plan, orders=tuple(left)))


def _size(schedule: Schedule) -> int:
    plan = schedule.plan
    parts = (schedule.faults, plan.befalling, plan.changes, plan.orders)
    return sum(map(len, parts)) + sum(plan.workers.values()) + schedule.jitter


def _name(breach: str) -> str:
    return breach.partition(":")[0]
