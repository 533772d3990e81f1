from random import Random
from typing import Any

import msgspec
import pytest

from orderflow.providers.faults import CHAOS_FAILURE_RATE, Faults, FaultsError, Simulation, draw, with_chaos

DRAWS = 10_000


def test_only_the_carrier_is_slow_and_unreliable_by_default() -> None:
    simulation = Simulation()
    assert simulation.carrier.latency_seconds == (1.0, 5.0)
    assert simulation.carrier.error_rate == 0.15
    assert simulation.carrier.decline_rate == 0.0
    assert {simulation.card, simulation.email, simulation.sms, simulation.push} == {Faults()}
    assert Faults().latency_seconds == (0.0, 0.0)


def test_switching_the_carriers_delay_off_leaves_its_other_defaults() -> None:
    simulation = msgspec.convert({"carrier": {"latencySeconds": [0, 0]}}, Simulation)
    assert simulation.carrier.latency_seconds == (0.0, 0.0)
    assert simulation.carrier.error_rate == 0.15


@pytest.mark.parametrize(
    ("switches", "field"),
    [
        ({"declineRate": 1.5}, "declineRate"),
        ({"errorRate": -0.1}, "errorRate"),
        ({"errorRate": float("nan")}, "errorRate"),
        ({"timeoutBeforeRate": 2}, "timeoutBeforeRate"),
        ({"timeoutAfterSuccessRate": 2}, "timeoutAfterSuccessRate"),
        ({"latencySeconds": [5, 1]}, "latencySeconds"),
        ({"latencySeconds": [-1, 1]}, "latencySeconds"),
        ({"latencySeconds": [1]}, "latencySeconds"),
        ({"latencySeconds": [0, float("inf")]}, "latencySeconds"),
        ({"declineRates": 0.5}, "declineRates"),
    ],
)
def test_a_switch_that_cannot_be_is_refused_by_name(switches: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"card": switches}, Simulation)


def test_a_switch_that_cannot_be_is_refused_in_code_as_well() -> None:
    with pytest.raises(FaultsError, match=r"declineRate: expected a number from 0 to 1, got 2") as refused:
        Faults(decline_rate=2)
    assert refused.value.field == "declineRate"


def test_chaos_failure_rate_sets_the_share_of_declined_charges_and_nothing_else() -> None:
    simulation = Simulation(card=Faults(decline_rate=0.1, error_rate=0.2))
    chaotic = with_chaos(simulation, {CHAOS_FAILURE_RATE: "0.5"})
    assert chaotic == Simulation(card=Faults(decline_rate=0.5, error_rate=0.2))


@pytest.mark.parametrize("environment", [{}, {CHAOS_FAILURE_RATE: ""}, {CHAOS_FAILURE_RATE: "  "}])
def test_without_chaos_failure_rate_the_resource_counts(environment: dict[str, str]) -> None:
    simulation = Simulation(card=Faults(decline_rate=0.1))
    assert with_chaos(simulation, environment) == simulation


@pytest.mark.parametrize("text", ["half", "1.1", "-0.5", "nan", "50%"])
def test_a_wrong_chaos_failure_rate_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(FaultsError, match=r"^CHAOS_FAILURE_RATE: expected a number from 0 to 1, got ") as refused:
        with_chaos(Simulation(), {CHAOS_FAILURE_RATE: text})
    assert refused.value.field == CHAOS_FAILURE_RATE


def test_rates_are_honoured() -> None:
    faults = Faults(decline_rate=0.3, error_rate=0.15, timeout_before_rate=0.05, timeout_after_success_rate=0.5)
    random = Random(7)
    drawn = [draw(faults, random) for _ in range(DRAWS)]
    assert sum(one.declined for one in drawn) / DRAWS == pytest.approx(0.3, abs=0.02)
    assert sum(one.failing for one in drawn) / DRAWS == pytest.approx(0.15, abs=0.02)
    assert sum(one.lost_before for one in drawn) / DRAWS == pytest.approx(0.05, abs=0.02)
    assert sum(one.lost_after for one in drawn) / DRAWS == pytest.approx(0.5, abs=0.02)


def test_a_rate_of_nought_never_happens_and_a_rate_of_one_always_does() -> None:
    random = Random(7)
    well = [draw(Faults(), random) for _ in range(1000)]
    assert not any(one.declined or one.failing or one.lost_before or one.lost_after for one in well)
    assert all(draw(Faults(error_rate=1), random).failing for _ in range(1000))


def test_latency_is_spread_between_its_bounds() -> None:
    random = Random(7)
    seconds = sorted(draw(Faults(latency_seconds=(1, 5)), random).seconds for _ in range(DRAWS))
    assert 1 <= seconds[0] < 1.1
    assert 4.9 < seconds[-1] <= 5
    assert seconds[DRAWS // 2] == pytest.approx(3, abs=0.1)


def test_one_switch_does_not_move_the_luck_of_another() -> None:
    one, other = Random(7), Random(7)
    calm = [draw(Faults(error_rate=0.3), one).failing for _ in range(100)]
    slow = [draw(Faults(error_rate=0.3, latency_seconds=(1, 5), decline_rate=1), other).failing for _ in range(100)]
    assert calm == slow
