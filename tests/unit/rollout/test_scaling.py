"""How many replicas the lag asks for."""

from hypothesis import given
from hypothesis import strategies as st

from orderflow.spec.rollout import Autoscaling, Stabilization
from orderflow_operator.rollout.model import LoadSeen, ScalingMemory
from orderflow_operator.rollout.scaling import CEILING_LASTS, JUDGED_AFTER, needed, scaled

AT_ONCE = Stabilization(stabilization_window_seconds=0)
RULES = Autoscaling(lag_threshold=100, activation_lag_threshold=10, scale_up=AT_ONCE, scale_down=AT_ONCE)


class Scaled:
    """One processor over time."""

    def __init__(self, rules: Autoscaling = RULES, partitions: int = 12, replicas: int = 1) -> None:
        self.rules, self.partitions, self.replicas = rules, partitions, replicas
        self.memory = ScalingMemory()
        self.at = 1000.0

    def sees(self, lag: int, rate: float = 100.0, after: float = 10.0) -> int:
        self.at += after
        load = LoadSeen(at=self.at, lag=lag, rate=rate)
        self.memory = scaled(self.memory, self.rules, load, self.replicas, self.partitions)
        self.replicas = self.memory.replicas
        return self.replicas


def test_each_replica_has_at_most_the_threshold() -> None:
    assert needed(RULES, 250, 12) == 3


def test_lag_that_is_not_worth_it_counts_as_none() -> None:
    assert needed(RULES, 10, 12) == 1
    assert needed(RULES, 11, 12) == 1


def test_divisors_of_the_partitions_are_preferred() -> None:
    assert needed(RULES, 500, 12) == 6
    assert needed(RULES, 700, 12) == 12
    assert needed(RULES, 300, 7) == 3, "there is none near"


def test_there_are_never_more_replicas_than_partitions_nor_than_allowed() -> None:
    assert needed(RULES, 1_000_000, 12) == 12
    assert needed(Autoscaling(lag_threshold=100, max_replicas=5), 1_000_000, 12) == 5
    assert needed(Autoscaling(lag_threshold=100, min_replicas=3, max_replicas=5), 0, 12) == 3


def test_it_goes_up_only_for_what_has_lasted_the_window() -> None:
    system = Scaled(Autoscaling(lag_threshold=100, scale_up=Stabilization(stabilization_window_seconds=30)))
    assert [system.sees(lag) for lag in (0, 400, 400, 400, 400)] == [1, 1, 1, 1, 4]
    assert Scaled(system.rules).sees(0) == 1


def test_a_spike_within_the_window_changes_nothing() -> None:
    system = Scaled(Autoscaling(lag_threshold=100, scale_up=Stabilization(stabilization_window_seconds=30)))
    assert [system.sees(lag) for lag in (0, 900, 0, 900, 0)] == [1, 1, 1, 1, 1]


def test_it_goes_down_only_when_nothing_within_the_window_asked_for_more() -> None:
    rules = Autoscaling(lag_threshold=100, scale_up=AT_ONCE, scale_down=Stabilization(stabilization_window_seconds=30))
    system = Scaled(rules, replicas=4)
    assert [system.sees(lag) for lag in (400, 0, 0, 0, 0)] == [4, 4, 4, 4, 1]


def test_what_did_not_help_is_taken_back_and_not_tried_again_soon() -> None:
    system = Scaled()
    assert system.sees(400, rate=100) == 4
    assert system.sees(400, rate=100, after=JUDGED_AFTER - 1) == 4
    assert system.sees(400, rate=101, after=1) == 1
    assert "no more than 1" in system.memory.why
    assert system.sees(900, rate=100, after=60) == 1
    assert system.sees(900, rate=100, after=CEILING_LASTS) == 12


def test_what_helped_stays() -> None:
    system = Scaled()
    assert system.sees(400, rate=100) == 4
    assert system.sees(400, rate=300, after=JUDGED_AFTER) == 4


def test_a_look_at_the_same_load_changes_nothing() -> None:
    system = Scaled()
    system.sees(400)
    before = system.memory
    system.sees(400, after=0)
    assert system.memory == before


@given(
    st.integers(1, 12),
    st.integers(1, 20),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 500), st.sampled_from((1.0, 20.0, 90.0))), max_size=12),
)
def test_it_stays_within_its_bounds(
    partitions: int, least: int, most: int, loads: list[tuple[int, float, float]]
) -> None:
    rules = Autoscaling(min_replicas=least, max_replicas=most, lag_threshold=100, scale_up=AT_ONCE)
    system = Scaled(rules, partitions)
    for lag, rate, after in loads:
        number = system.sees(lag, rate, after)
        assert number <= min(most, partitions)
        assert number >= min(least, most, partitions)
