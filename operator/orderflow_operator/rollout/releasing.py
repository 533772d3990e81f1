"""A release over all processors: how it begins, ends, is taken back, and gives way to another."""

from msgspec.structs import replace

from orderflow_operator.rollout.model import (
    PastRelease,
    ProcessorRollout,
    ProcessorSeen,
    Rollback,
    Rollout,
    Wanted,
)
from orderflow_operator.rollout.placing import seen_of
from orderflow_operator.rollout.stepping import begun, fresh, going_back


def installing(rollout: Rollout, wanted: Wanted, now: float) -> Rollout:
    """Return the rollout on its way to the first release there is. Nothing is proven yet: a newer one replaces it."""
    processors = {
        name: replace(
            begun(rollout.processors.get(name, ProcessorRollout()), one, min(one.replicas, wanted.partitions), now),
            stage="Stepping",
            steps=(),
            partitions=wanted.partitions,
        )
        for name, one in wanted.processors.items()
    }
    return replace(
        rollout, phase="Installing", target=wanted.release, started_at=now, progress_at=now, processors=processors
    )


def started(rollout: Rollout, wanted: Wanted, seen: dict[str, ProcessorSeen], now: float) -> Rollout:
    """Return the rollout at the beginning of the wanted release: of the processors whose revisions it changes."""
    processors = {}
    for name, one in wanted.processors.items():
        processor = rollout.processors.get(name, ProcessorRollout())
        if one.revision == processor.stable:
            processors[name] = fresh(processor)
        else:
            scaled = one.autoscaling is not None and not one.autoscaling.dry_run and processor.replicas
            replicas = processor.replicas if scaled else min(one.replicas, wanted.partitions)
            restarts = seen_of(seen[name], one.revision).restarts
            processors[name] = replace(begun(processor, one, replicas, now), restarts_before=restarts)
    return replace(
        rollout,
        phase="Progressing",
        target=wanted.release,
        refused="",
        started_at=now,
        progress_at=now,
        processors=processors,
    )


def taken_back(rollout: Rollout, why: Rollback | None) -> Rollout:
    """Return the rollout going back to stable with all processors; ``why`` is remembered, and refuses the release."""
    return replace(
        rollout,
        phase="RollingBack",
        target="",
        refused=why.release if why is not None else "",
        last_rollback=why or rollout.last_rollback,
        processors={name: fresh(processor) for name, processor in rollout.processors.items()},
    )


def undone(rollout: Rollout, wanted: str, now: float) -> Rollout:
    """Return the rollout on its way to the release before stable; as it is if none is remembered.

    What the resource wants is refused from then on.
    """
    if len(rollout.history) < 2:
        return rollout
    before = rollout.history[-2]
    processors = {
        name: going_back(one, before.revisions[name], before.replicas[name], now)
        if before.revisions.get(name, one.stable) != one.stable
        else fresh(one)
        for name, one in rollout.processors.items()
    }
    return replace(
        rollout,
        phase="Progressing",
        target=before.release,
        refused=wanted,
        started_at=now,
        progress_at=now,
        processors=processors,
    )


def hurried(rollout: Rollout) -> Rollout:
    """Return the rollout without the steps, pauses and analyses that are left."""
    processors = {
        name: replace(one, steps=(), step=0) if one.target else one for name, one in rollout.processors.items()
    }
    return replace(rollout, processors=processors)


def all_moved(rollout: Rollout) -> bool:
    """Tell whether every processor that the release changes has come to its end."""
    return all(one.stage == "Moved" for one in rollout.processors.values() if one.target)


def promoted(rollout: Rollout, limit: int, now: float) -> Rollout:
    """Return the rollout with the target as stable."""
    processors = {name: _proven(one, now) if one.target else one for name, one in rollout.processors.items()}
    past = PastRelease(
        release=rollout.target,
        revisions={name: one.stable for name, one in processors.items()},
        replicas={name: one.replicas for name, one in processors.items()},
        at=now,
    )
    # A release that is promoted again, by undoing, is not remembered twice.
    history = (*(one for one in rollout.history if one.release != past.release), past)
    return replace(
        rollout,
        phase="Stable",
        stable=rollout.target,
        target="",
        processors=processors,
        history=history[-limit - 1 :],
    )


def _proven(processor: ProcessorRollout, now: float) -> ProcessorRollout:
    warm = {revision: until for revision, until in processor.warm_until.items() if until > now}
    if processor.stable and processor.scale_down_delay:
        warm[processor.stable] = now + processor.scale_down_delay
    warm.pop(processor.target, None)
    return replace(
        fresh(processor),
        stable=processor.target,
        replicas=processor.target_replicas,
        declaration=processor.target_declaration,
        warm_until=warm,
    )


def installed(rollout: Rollout, seen: dict[str, ProcessorSeen], partitions: int) -> bool:
    """Tell whether every processor of the first release has its pods and all partitions."""
    return all(
        seen_of(seen.get(name, ProcessorSeen()), one.target).ready >= min(one.target_replicas, partitions)
        and seen_of(seen.get(name, ProcessorSeen()), one.target).assigned == partitions
        for name, one in rollout.processors.items()
    )
