"""What breaks a promise is shown by a schedule with little else in it."""

import pytest

from orderflow.saga.state import Progress
from orderflow.saga.table import Status
from orderflow.simulation.playing import Outcome, Player
from orderflow.simulation.shrinking import shrunk


def needs_undoing(self: Progress) -> bool:
    """Leave alone what nobody has heard of."""
    return self.status is Status.DONE or (self.status is not Status.UNDOING and bool(self.left))


@pytest.fixture
def broken(in_memory: Player, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A run of a system that does not undo steps whose outcome is unknown."""
    monkeypatch.setattr(Progress, "needs_undoing", property(needs_undoing))
    return next(outcome for seed in range(50) if not (outcome := in_memory.seed(seed)).ok)


def test_a_schedule_is_shortened_and_breaks_the_same(in_memory: Player, broken: Outcome) -> None:
    short = shrunk(in_memory, broken, tries=60)
    assert short.breaches[0].partition(":")[0] == broken.breaches[0].partition(":")[0]
    plan = short.schedule.plan
    assert len(short.schedule.faults) + len(plan.befalling) + len(plan.changes) <= 2
    assert len(plan.orders) <= 1
    assert in_memory.schedule(short.schedule) == short
