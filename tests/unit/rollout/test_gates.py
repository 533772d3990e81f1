"""What a measurement says, and what a gate makes of several."""

import math

import pytest

from orderflow.spec.rollout import AgainstStable, Gate, Prometheus, ThresholdRange
from orderflow_operator.rollout.gates import BUILT_IN, Policy, failed, folded, judge, passed, policies, undecided
from orderflow_operator.rollout.model import GateMemory, Measurement

BOUNDED = Policy(name="bounded", range=ThresholdRange(min=1, max=2))
COMPARED = Policy(name="compared", against_stable=AgainstStable(max_ratio=2, max_difference=0.1))
SLOPE = BUILT_IN["lag-growth"]


@pytest.mark.parametrize(
    ("policy", "value", "stable", "verdict"),
    [
        pytest.param(BOUNDED, 1, None, "Passed", id="a bound is in the range"),
        pytest.param(BOUNDED, 2.01, None, "Failed", id="above"),
        pytest.param(BOUNDED, 0.99, None, "Failed", id="below"),
        pytest.param(BOUNDED, None, None, "Inconclusive", id="no data"),
        pytest.param(BOUNDED, math.nan, None, "Inconclusive", id="no number"),
        pytest.param(COMPARED, 0.2, 0.1, "Passed", id="twice as much is allowed"),
        pytest.param(COMPARED, 0.09, 0.0, "Passed", id="small values have their noise"),
        pytest.param(COMPARED, 3.0, 1.0, "Failed", id="beyond ratio and difference"),
        pytest.param(COMPARED, 1.9, 1.0, "Passed", id="beyond the difference, not the ratio"),
        pytest.param(COMPARED, 1.0, None, "Inconclusive", id="nothing to compare with"),
        pytest.param(SLOPE, 5.0, 0.0, "Failed", id="the canary's lag alone rises"),
        pytest.param(SLOPE, 5.0, 6.0, "Inconclusive", id="both rise"),
        pytest.param(SLOPE, 5.0, None, "Inconclusive", id="it rises and nobody is there to compare with"),
        pytest.param(SLOPE, 0.5, 9.0, "Passed", id="stable's alone rises"),
    ],
)
def test_a_measurement_is_good_or_bad_or_says_nothing(
    policy: Policy, value: float | None, stable: float | None, verdict: str
) -> None:
    assert judge(policy, Measurement(at=100, value=value, stable=stable))[0] == verdict


def test_too_few_messages_say_nothing() -> None:
    policy = Policy(name="rate", range=ThresholdRange(max=0), min_samples=20)
    assert judge(policy, Measurement(at=1, value=1.0, samples=19))[0] == "Inconclusive"
    assert judge(policy, Measurement(at=1, value=1.0, samples=20))[0] == "Failed"


def test_an_interval_after_partitions_moved_is_skipped() -> None:
    assert judge(SLOPE, Measurement(at=109, value=9.0, stable=0.0), settled_at=100)[0] == "Inconclusive"
    assert judge(SLOPE, Measurement(at=110, value=9.0, stable=0.0), settled_at=100)[0] == "Failed"


def test_stable_s_last_value_counts_where_it_has_none_now() -> None:
    memory = GateMemory(stable=1.0)
    assert folded(COMPARED, memory, Measurement(at=1, value=3.0)).verdict == "Failed"


def remembered(policy: Policy, *values: float | None) -> GateMemory:
    memory = GateMemory()
    for at, value in enumerate(values, start=1):
        memory = folded(policy, memory, Measurement(at=at, value=value))
    return memory


def test_as_many_failures_as_the_limit_are_borne_and_not_one_more() -> None:
    policy = Policy(name="x", range=ThresholdRange(max=1), failure_limit=2)
    assert not failed(policy, remembered(policy, 2, 2))
    assert failed(policy, remembered(policy, 2, 0, 2, 0, 2))


def test_no_data_for_too_long_holds_until_there_are_data() -> None:
    policy = Policy(name="x", range=ThresholdRange(max=1), inconclusive_limit=1)
    assert undecided(policy, remembered(policy, None, None))
    assert not undecided(policy, remembered(policy, None, None, 0))
    assert not failed(policy, remembered(policy, None, None, None))
    assert not passed(policy, remembered(policy, None, None, None))


def test_an_analysis_needs_its_count_of_good_measurements() -> None:
    policy = Policy(name="x", range=ThresholdRange(max=1), count=2)
    assert not passed(policy, remembered(policy, 0))
    assert passed(policy, remembered(policy, 0, None, 0))


def test_a_dry_run_is_measured_and_never_acted_on() -> None:
    policy = Policy(name="x", range=ThresholdRange(max=1), failure_limit=0, inconclusive_limit=0, dry_run=True)
    memory = remembered(policy, 5, None)
    assert memory.failed == 1
    assert not failed(policy, memory)
    assert not undecided(policy, memory)
    assert passed(policy, memory)


def test_the_same_measurement_counts_once() -> None:
    once = remembered(BOUNDED, 5)
    assert folded(BOUNDED, once, Measurement(at=1, value=5)) == once


def test_a_gate_of_a_built_in_s_name_changes_it_and_another_is_added() -> None:
    query = Prometheus(address="http://prometheus:9090", query="vector(1)")
    found = policies(
        (
            Gate(name="error-rate", failure_limit=0, interval="1m30s"),
            Gate(name="mine", prometheus=query, threshold_range=ThresholdRange(max=3)),
        )
    )
    assert (found["error-rate"].failure_limit, found["error-rate"].interval) == (0, 90.0)
    assert found["error-rate"].min_samples == BUILT_IN["error-rate"].min_samples
    assert found["mine"].range.max == 3
    assert found.keys() == BUILT_IN.keys() | {"mine"}
