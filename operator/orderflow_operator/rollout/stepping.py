"""One processor on its way to its target revision: when it goes on to the next stage, step and share.

Nothing here says how many pods there are: that follows from stage and share (:mod:`.placing`).
"""

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from orderflow.spec.rollout import Analysis, BlueGreen, Canary, Step, Strategy, seconds_of
from orderflow.spec.rollout_rules import share_of
from orderflow_operator.rollout import gates
from orderflow_operator.rollout.gates import Policy
from orderflow_operator.rollout.model import GateMemory, ProcessorRollout, ProcessorSeen, WantedProcessor
from orderflow_operator.rollout.placing import room_of, seen_of, settled

ALL_AT_ONCE: Final = (Step(set_weight=100), Step(analysis=Analysis()))


@dataclass(frozen=True, slots=True)
class Going:
    """What one look at a processor goes by.

    Attributes:
        resumed: a person has said so.
        free: nobody it depends on is still on the way.
        begun_at: what was found before says nothing.
    """

    now: float
    partitions: int
    seen: ProcessorSeen
    policies: dict[str, Policy]
    resumed: bool = False
    free: bool = True
    begun_at: float = 0.0


def begun(processor: ProcessorRollout, wanted: WantedProcessor, replicas: int, now: float) -> ProcessorRollout:
    """Return the processor at the beginning of its way to the wanted revision, by the strategy as it is now."""
    strategy = wanted.strategy
    blue_green = strategy.blue_green is not None
    canary = strategy.canary or Canary()
    return replace(
        fresh(processor),
        target=wanted.revision,
        target_replicas=replicas,
        stage="Waiting",
        blue_green=blue_green,
        max_surge=canary.max_surge,
        scale_down_delay=float((strategy.blue_green or BlueGreen()).scale_down_delay_seconds) if blue_green else 0.0,
        steps=ALL_AT_ONCE if blue_green else canary.steps,
        step_at=now,
    )


def going_back(processor: ProcessorRollout, revision: str, replicas: int, now: float) -> ProcessorRollout:
    """Return the processor at the beginning of its way to a revision that has proven itself before: all at once."""
    return replace(
        begun(processor, WantedProcessor(revision=revision, strategy=Strategy(blue_green=BlueGreen())), replicas, now),
        steps=(),
        stage="Starting",
        partitions=0,
    )


def fresh(processor: ProcessorRollout) -> ProcessorRollout:
    """Return the processor without anything of a target."""
    return replace(
        processor,
        target="",
        target_replicas=0,
        stage="Waiting",
        steps=(),
        step=0,
        partitions=0,
        partitions_at=0.0,
        joined_at=0.0,
        restarts_before=0,
        restarts=0,
        gates={},
        target_declaration=None,
    )


def advanced(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    """Return the processor one stage, step or share further, or as it is."""
    match processor.stage:
        case "Waiting":
            return replace(processor, stage="Shadow") if going.free else processor
        case "Shadow":
            return _past_the_shadow(processor, going)
        case "Starting":
            return _started(processor, going)
        case "Stepping":
            return _stepped(processor, going)
        case "Moved":
            return processor


def _past_the_shadow(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    found = going.seen.shadow
    if found is None or found.revision != processor.target or found.fault or found.at < going.begun_at:
        return processor
    return replace(
        _towards(processor, going), stage="Starting", step_at=going.now, target_declaration=found.declaration
    )


def _started(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    if not processor.partitions:
        processor = _towards(processor, going)
    room = room_of(processor, going.partitions)
    if seen_of(going.seen, processor.target).ready < room.target_pods(processor.partitions):
        return processor
    return replace(processor, stage="Stepping", partitions_at=going.now)


def _stepped(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    if processor.joined_at == 0.0 and seen_of(going.seen, processor.target).assigned:
        processor = replace(processor, joined_at=going.now)
    step = _current(processor)
    if step is None:
        return _finished(processor, going)
    if not _done(processor, step, going):
        return _towards(processor, going) if _may_share_on(processor, going) else processor
    return replace(processor, step=processor.step + 1, step_at=going.now, gates=counted_anew(processor.gates))


def _finished(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    if not settled(processor, going.seen, going.partitions):
        return processor
    if processor.partitions < going.partitions:
        return _towards(processor, going)
    return replace(processor, stage="Moved", step_at=going.now)


def _current(processor: ProcessorRollout) -> Step | None:
    return processor.steps[processor.step] if processor.step < len(processor.steps) else None


def _done(processor: ProcessorRollout, step: Step, going: Going) -> bool:
    if step.pause is not None:
        return going.resumed or (
            step.pause.duration is not None and going.now >= processor.step_at + seconds_of(step.pause.duration)
        )
    if step.analysis is not None:
        names = step.analysis.gates or tuple(going.policies)
        return processor.joined_at > 0.0 and all(
            gates.passed(going.policies[name], processor.gates.get(name, GateMemory()))
            for name in names
            if name in going.policies
        )
    goal = share_of(step, going.partitions) or going.partitions
    return processor.partitions >= goal and settled(processor, going.seen, going.partitions)


def _may_share_on(processor: ProcessorRollout, going: Going) -> bool:
    step = _current(processor)
    shares = step is not None and share_of(step, going.partitions) is not None
    return shares and settled(processor, going.seen, going.partitions)


def _towards(processor: ProcessorRollout, going: Going) -> ProcessorRollout:
    """Return the processor with as much more of a share as its next pods carry, towards the next step that has one."""
    ahead = (share_of(step, going.partitions) for step in processor.steps[processor.step :])
    goal = next((share for share in ahead if share is not None), going.partitions)
    if processor.blue_green:
        share = going.partitions
    else:
        share = room_of(processor, going.partitions).next_share(processor.partitions, goal)
    if share <= processor.partitions:
        return processor
    return replace(processor, partitions=share, partitions_at=going.now)


def counted_anew(memories: dict[str, GateMemory]) -> dict[str, GateMemory]:
    """Return what gates remember without what they have counted: an analysis begins."""
    return {name: replace(memory, passed=0, failed=0) for name, memory in memories.items()}


def waits_on_purpose(processor: ProcessorRollout) -> bool:
    """Tell whether its present step takes its time by itself: a pause or an analysis."""
    step = _current(processor) if processor.stage == "Stepping" else None
    return step is not None and (step.pause is not None or step.analysis is not None)


def waits_for_a_person(processor: ProcessorRollout) -> bool:
    """Tell whether only ``resume`` or ``promote`` will end its present step."""
    step = _current(processor) if processor.stage == "Stepping" else None
    return step is not None and step.pause is not None and step.pause.duration is None
