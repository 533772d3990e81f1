"""Fault switches: how unwell the simulated outside is.

They stand in the OrderFlow resource under ``spec.simulation``, one set per provider, and say what becomes of a call:
it takes time, it fails before anything happened, it is refused for good, or it works and its answer is lost.
"""

from collections.abc import Mapping
from math import inf
from random import Random
from typing import Annotated, Final

import msgspec

CHAOS_FAILURE_RATE: Final = "CHAOS_FAILURE_RATE"
"""The environment variable that sets the share of charges declined, over whatever the resource says."""

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A share of calls: 0 is none, 1 is all."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class FaultsError(ValueError):
    """A fault switch is set to what it cannot be.

    Attributes:
        field: the switch, in the resource's own spelling, or the name of the environment variable.
        reason: one sentence: what was expected and what came.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def _check_rate(field: str, rate: float) -> None:
    # Written so that a NaN fails too.
    if not 0 <= rate <= 1:
        raise FaultsError(field, f"expected a number from 0 to 1, got {rate}")


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How one provider fails. Each call draws afresh; all rates are shares of calls, from 0 to 1.

    Attributes:
        decline_rate: refused for good. The refusal is the key's answer for ever; drawn for requests that can be
            refused (a charge, a booking, a delivery), not for those that undo.
        error_rate: nothing happened, and the provider says so. Questions about a key fail at this rate as well.
        latency_seconds: least and most seconds a call takes, spread evenly.
        timeout_before_rate: nothing happened and no answer comes: a question about the key finds nothing.
        timeout_after_success_rate: the effect is recorded and its answer is lost: a question about the key finds it.

    Raises:
        FaultsError: a rate is outside 0 to 1, or the latency is negative, endless or upside down.
    """

    decline_rate: Rate = 0.0
    error_rate: Rate = 0.0
    latency_seconds: tuple[Seconds, Seconds] = (0.0, 0.0)
    timeout_before_rate: Rate = 0.0
    timeout_after_success_rate: Rate = 0.0

    def __post_init__(self) -> None:
        _check_rate("declineRate", self.decline_rate)
        _check_rate("errorRate", self.error_rate)
        _check_rate("timeoutBeforeRate", self.timeout_before_rate)
        _check_rate("timeoutAfterSuccessRate", self.timeout_after_success_rate)
        least, most = self.latency_seconds
        if not 0 <= least <= most < inf:
            raise FaultsError("latencySeconds", f"expected [least, most] with 0 <= least <= most, got {[least, most]}")


class CarrierFaults(Faults, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A carrier takes 1 to 5 s and fails 15 % of its calls, unless told otherwise (order-processing documents)."""

    error_rate: Rate = 0.15
    latency_seconds: tuple[Seconds, Seconds] = (1.0, 5.0)


class Simulation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The fault switches of every simulated provider. All but the carrier are well and quick by default."""

    card: Faults = Faults()
    carrier: CarrierFaults = CarrierFaults()
    email: Faults = Faults()
    sms: Faults = Faults()
    push: Faults = Faults()


def with_chaos(simulation: Simulation, environment: Mapping[str, str]) -> Simulation:
    """Return ``simulation`` with the share of declined charges that ``CHAOS_FAILURE_RATE`` asks for, if it is set.

    Raises:
        FaultsError: the variable is set to something else than a number from 0 to 1.
    """
    text = environment.get(CHAOS_FAILURE_RATE, "").strip()
    if not text:
        return simulation
    rate = _share(CHAOS_FAILURE_RATE, text)
    return msgspec.structs.replace(simulation, card=msgspec.structs.replace(simulation.card, decline_rate=rate))


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What one call meets."""

    seconds: float
    declined: bool
    failing: bool
    lost_before: bool
    lost_after: bool


def draw(faults: Faults, random: Random) -> Weather:
    """Draw one call's weather: always the same count of numbers, so that a seed gives the same run for other rates."""
    return Weather(
        seconds=random.uniform(*faults.latency_seconds),
        declined=random.random() < faults.decline_rate,
        failing=random.random() < faults.error_rate,
        lost_before=random.random() < faults.timeout_before_rate,
        lost_after=random.random() < faults.timeout_after_success_rate,
    )


def _share(field: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise FaultsError(field, f"expected a number from 0 to 1, got {text!r}") from None
    _check_rate(field, rate)
    return rate
