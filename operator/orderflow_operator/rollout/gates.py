"""Whether a measurement is good, bad, or says nothing.

A gate is bad by its absolute range, or by how much worse than stable the canary is. No data is neither good nor bad.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from msgspec.structs import replace as changed

from orderflow.spec.rollout import AgainstStable, Gate, Prometheus, ThresholdRange, seconds_of
from orderflow_operator.rollout.model import GateMemory, Measurement

Verdict = Literal["Passed", "Failed", "Inconclusive"]

Kind = Literal["measured", "restarts", "letters"]


ANY: Final = ThresholdRange()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A gate with everything settled; times in seconds.

    Attributes:
        kind: ``measured`` at its interval, or what is known at every look: restarts of containers, dead letters.
        unless_both: a value out of its range says nothing if stable's is out of it too.
        settles: measurements within an interval after the partitions moved say nothing.
    """

    name: str
    kind: Kind = "measured"
    prometheus: Prometheus | None = None
    range: ThresholdRange = ANY
    against_stable: AgainstStable | None = None
    interval: float = 10.0
    initial_delay: float = 10.0
    count: int = 6
    failure_limit: int = 1
    inconclusive_limit: int = 3
    min_samples: int = 0
    dry_run: bool = False
    unless_both: bool = False
    settles: bool = False

    @property
    def only_compares(self) -> bool:
        """Whether there is nothing to hold a value against but stable's."""
        return self.against_stable is not None and self.range.min is None and self.range.max is None

    @property
    def threshold(self) -> str:
        """What a good value is, in words."""
        words = []
        if self.range.min is not None:
            words.append(f"at least {self.range.min:g}")
        if self.range.max is not None:
            words.append(f"at most {self.range.max:g}")
        if (most := self.against_stable) is not None:
            words.append(f"at most {most.max_ratio:g} times stable's or {most.max_difference:g} more")
        return ", ".join(words)


BUILT_IN: Final = {
    policy.name: policy
    for policy in (
        # Calls may fail more often than not for reasons of the outside, so it is stable that says what is normal. With
        # 50 messages a tenth more is beyond chance, and three times within a step beyond any doubt.
        Policy(
            name="error-rate",
            range=ThresholdRange(max=0.5),
            against_stable=AgainstStable(max_ratio=1.5, max_difference=0.1),
            failure_limit=2,
            min_samples=50,
        ),
        # Batches share machines with their neighbours: less than twice and 50 ms are noise.
        Policy(
            name="processing-seconds-p95",
            against_stable=AgainstStable(max_ratio=2.0, max_difference=0.05),
            failure_limit=2,
            min_samples=20,
        ),
        # Messages per second and partition. What is inherited with a partition is not counted: it is a slope.
        Policy(name="lag-growth", range=ThresholdRange(max=1.0), failure_limit=2, unless_both=True, settles=True),
        Policy(name="dead-letters", kind="letters", range=ThresholdRange(max=0.0), failure_limit=0),
        Policy(name="readiness", kind="restarts", range=ThresholdRange(max=1.0), failure_limit=0),
    )
}
"""The gates that every rollout has."""


def policies(gates: Iterable[Gate]) -> dict[str, Policy]:
    """Return the gates of a processor by name: the built-in ones as changed, and those that are added."""
    found = dict(BUILT_IN)
    for gate in gates:
        base = found.get(gate.name) or Policy(name=gate.name)
        found[gate.name] = _overridden(base, gate)
    return found


def _overridden(base: Policy, gate: Gate) -> Policy:
    given = {
        "prometheus": gate.prometheus,
        "range": gate.threshold_range,
        "against_stable": gate.against_stable,
        "interval": None if gate.interval is None else seconds_of(gate.interval),
        "initial_delay": None if gate.initial_delay is None else seconds_of(gate.initial_delay),
        "count": gate.count,
        "failure_limit": gate.failure_limit,
        "inconclusive_limit": gate.inconclusive_limit,
        "min_samples": gate.min_samples,
        # What a query measures is its author's: only he knows what it means that both are out of range.
        "kind": None if gate.prometheus is None else "measured",
        "unless_both": None if gate.prometheus is None else False,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(base, dry_run=gate.dry_run, **chosen)  # type: ignore[arg-type]


def judge(
    policy: Policy, measurement: Measurement, *, baseline: float | None = None, settled_at: float = 0.0
) -> tuple[Verdict, str]:
    """Return what a measurement says, and why in half a sentence.

    Args:
        baseline: stable's last value, where it has none now.
        settled_at: when partitions last moved.
    """
    if measurement.value is None or math.isnan(measurement.value):
        return "Inconclusive", measurement.why or "there are no data"
    if policy.settles and measurement.at < settled_at + policy.interval:
        return "Inconclusive", "partitions have just moved"
    if measurement.samples is not None and measurement.samples < policy.min_samples:
        return "Inconclusive", f"{measurement.samples:g} messages, of {policy.min_samples} that it takes"
    if policy.unless_both:
        return _rising(policy, measurement.value, measurement.stable)
    compared = measurement.stable if measurement.stable is not None else baseline
    if policy.only_compares and compared is None:
        return "Inconclusive", "there are no data of stable to compare with"
    return _held_against(policy, measurement.value, compared)


def _rising(policy: Policy, value: float, stable: float | None) -> tuple[Verdict, str]:
    """Say nothing while it cannot be told whether canary or traffic is at fault; an older value does not tell."""
    if within(policy.range, value):
        return "Passed", f"{value:g}"
    if stable is None:
        return "Inconclusive", f"{value:g}, and stable has no partitions to compare with"
    if not within(policy.range, stable):
        return "Inconclusive", f"{value:g}, and stable's {stable:g}, are both out of range"
    return "Failed", f"{value:g} beside stable's {stable:g}, expected {policy.threshold}"


def _held_against(policy: Policy, value: float, stable: float | None) -> tuple[Verdict, str]:
    if not within(policy.range, value):
        return "Failed", f"{value:g}, expected {policy.threshold}"
    most = policy.against_stable
    if most is None or stable is None:
        return "Passed", f"{value:g}"
    if value > stable * most.max_ratio and value > stable + most.max_difference:
        return "Failed", f"{value:g} beside stable's {stable:g}, expected {policy.threshold}"
    return "Passed", f"{value:g}"


def within(range_: ThresholdRange, value: float) -> bool:
    """Tell whether the value is in the range, bounds included."""
    return (range_.min is None or value >= range_.min) and (range_.max is None or value <= range_.max)


def noted(memory: GateMemory, measurement: Measurement) -> GateMemory:
    """Return the memory with what stable measures before there is a canary: what it is compared with without stable."""
    if measurement.at <= memory.measured_at or measurement.stable is None:
        return memory
    return changed(memory, measured_at=measurement.at, stable=measurement.stable)


def folded(policy: Policy, memory: GateMemory, measurement: Measurement, *, settled_at: float = 0.0) -> GateMemory:
    """Return the memory with a measurement in it; one that is in it already changes nothing."""
    if measurement.at <= memory.measured_at:
        return memory
    verdict, detail = judge(policy, measurement, baseline=memory.stable, settled_at=settled_at)
    return changed(
        memory,
        measured_at=measurement.at,
        value=measurement.value,
        stable=measurement.stable if measurement.stable is not None else memory.stable,
        verdict=verdict,
        detail=detail,
        passed=memory.passed + (verdict == "Passed"),
        failed=memory.failed + (verdict == "Failed"),
        inconclusive=memory.inconclusive + 1 if verdict == "Inconclusive" else 0,
    )


def failed(policy: Policy, memory: GateMemory) -> bool:
    """Tell whether a rollout has to go back for it."""
    return not policy.dry_run and memory.failed > policy.failure_limit


def undecided(policy: Policy, memory: GateMemory) -> bool:
    """Tell whether a rollout has to hold for want of data."""
    return not policy.dry_run and memory.inconclusive > policy.inconclusive_limit


def passed(policy: Policy, memory: GateMemory) -> bool:
    """Tell whether an analysis needs no more of it."""
    return policy.dry_run or policy.kind != "measured" or memory.passed >= policy.count
