"""What follows from the memory: everything that is to be so, complete each time."""

from collections.abc import Iterator, Mapping

from orderflow_operator.rollout.gates import Policy
from orderflow_operator.rollout.model import (
    Action,
    Allow,
    GateMemory,
    LookAgain,
    Measure,
    ProcessorRollout,
    ProcessorSeen,
    Rollout,
    RunShadow,
    Scale,
)
from orderflow_operator.rollout.placing import NOBODY, seen_of

LOOK_EVERY = 1.0
"""Seconds between two looks while anything is on its way: a failed gate is to be acted on within five."""
REST = 30.0
"""Seconds between two looks while nothing is."""


def asked_for(
    rollout: Rollout, seen: Mapping[str, ProcessorSeen], policies: Mapping[str, dict[str, Policy]], now: float
) -> Iterator[Action]:
    """Yield everything that is to be so; who may write comes first, so that what is bad stops at once."""
    for name, processor in rollout.processors.items():
        yield Allow(processor=name, revisions=_writers(processor, seen.get(name, ProcessorSeen())))
    for name, processor in rollout.processors.items():
        for revision, asked in sorted(processor.asked.items()):
            yield Scale(processor=name, revision=revision, replicas=asked.replicas, partitions=asked.partitions)
    for name, processor in rollout.processors.items():
        if is_unknown(processor):
            yield RunShadow(processor=name, revision=processor.stable)
        elif processor.stable and processor.target and name in policies:
            yield from _looks(name, processor, policies[name], now)
    yield LookAgain(seconds=REST if rollout.phase == "Stable" else LOOK_EVERY)


def is_unknown(processor: ProcessorRollout) -> bool:
    """Tell whether stable went in without a shadow step, so that nobody knows what it declares."""
    return bool(processor.stable) and not processor.target and processor.declaration is None


def _writers(processor: ProcessorRollout, seen: ProcessorSeen) -> tuple[str, ...]:
    """Return who may write: stable, until it has left for good, and the target, from its self-check on."""
    writers = {processor.stable}
    if processor.target and processor.stage not in {"Waiting", "Shadow"}:
        writers.add(processor.target)
        left = processor.asked.get(processor.stable, NOBODY).partitions == 0
        if processor.blue_green and left and not seen_of(seen, processor.stable).members:
            writers.discard(processor.stable)
    return tuple(sorted(writers - {""}))


def _looks(name: str, processor: ProcessorRollout, policies: dict[str, Policy], now: float) -> Iterator[Action]:
    if processor.stage == "Shadow":
        yield RunShadow(processor=name, revision=processor.target)
    if processor.stage in {"Starting", "Stepping", "Moved"}:
        for gate, policy in policies.items():
            if policy.kind == "measured" and _is_due(processor, gate, policy, now):
                yield Measure(processor=name, gate=gate, revision=processor.target, stable=processor.stable)


def _is_due(processor: ProcessorRollout, gate: str, policy: Policy, now: float) -> bool:
    first = processor.joined_at + policy.initial_delay if processor.joined_at else 0.0
    return now >= max(first, processor.gates.get(gate, GateMemory()).measured_at + policy.interval)
