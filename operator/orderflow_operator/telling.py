"""From the rollout's memory to the status that people read: pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from orderflow.spec.errors import SpecError
from orderflow.spec.status import GateResult, LastRollback, ProcessorStatus, Promoted, Share, Status
from orderflow_operator.conditions import Standing, conditions, message, moment
from orderflow_operator.observing import Groups
from orderflow_operator.rollout.model import ProcessorRollout, ProcessorSeen, RevisionSeen, Rollout


def status_of(
    standing: Standing, seen: Mapping[str, ProcessorSeen], groups: Groups, partitions: int, before: Status
) -> Status:
    """Return the status; what only the caller knows (``handled``, ``prepared``) is as it was."""
    rollout = standing.rollout
    lags = [group.lag for group in groups.values() if group.lag is not None]
    memory: dict[str, Any] = msgspec.to_builtins(rollout)
    return msgspec.structs.replace(
        before,
        observed_generation=standing.generation,
        phase="Suspended" if standing.suspended else rollout.phase,
        step=_step(rollout),
        weight=_weight(rollout, partitions),
        revision=standing.release or before.revision,
        message=message(standing),
        lag=sum(lags) if lags else before.lag,
        conditions=conditions(standing, before.conditions),
        processors={
            context: _processor(context, processor, seen.get(context, ProcessorSeen()), groups)
            for context, processor in rollout.processors.items()
        },
        last_rollback=_rollback(rollout),
        history=tuple(
            Promoted(release=one.release, revisions=one.revisions, time=moment(one.at)) for one in rollout.history
        ),
        rollout=memory,
    )


def memory_of(status: Status) -> Rollout:
    """Return what the rollout remembers; nothing where there is no status yet.

    Raises:
        SpecError: it cannot be read. Then nothing may be done: it says what runs.
    """
    try:
        return msgspec.convert(status.rollout, Rollout)
    except msgspec.ValidationError as error:
        raise SpecError(f"written by another version of the operator ({error})", field="status.rollout") from None


def differs(before: Status, after: Status) -> bool:
    """Tell whether a status has to be written. A lag that moves a little while nothing happens is not written."""
    if abs((after.lag or 0) - (before.lag or 0)) > max(100, (before.lag or 0) // 5):
        return True
    return _without_lag(before) != _without_lag(after)


def _without_lag(status: Status) -> Status:
    processors = {name: msgspec.structs.replace(one, lag=None) for name, one in status.processors.items()}
    return msgspec.structs.replace(status, lag=None, processors=processors)


def _processor(context: str, processor: ProcessorRollout, seen: ProcessorSeen, groups: Groups) -> ProcessorStatus:
    group = groups.get(context)
    return ProcessorStatus(
        revision=processor.stable or processor.target,
        stage=processor.stage if processor.target else "",
        step=f"{processor.step}/{len(processor.steps)}" if processor.target and processor.steps else "",
        stable=_share(processor, seen, processor.stable or processor.target),
        canary=_share(processor, seen, processor.target) if processor.stable and processor.target else Share(),
        lag=group.lag if group is not None else None,
        gates=tuple(
            GateResult(
                name=name,
                verdict=gate.verdict,
                passed=gate.passed,
                failed=gate.failed,
                value=gate.value,
                stable=gate.stable,
                detail=gate.detail,
            )
            for name, gate in sorted(processor.gates.items())
        )
        if processor.target
        else (),
    )


def _share(processor: ProcessorRollout, seen: ProcessorSeen, revision: str) -> Share:
    found = seen.revisions.get(revision, RevisionSeen())
    asked = processor.asked.get(revision)
    return Share(
        revision=revision,
        replicas=asked.replicas if asked is not None else 0,
        ready=found.ready,
        partitions=found.assigned,
    )


def _step(rollout: Rollout) -> str:
    steps = [one for one in rollout.processors.values() if one.target and one.steps and rollout.stable]
    if not steps:
        return ""
    least = min(steps, key=lambda one: one.step / len(one.steps))
    return f"{least.step}/{len(least.steps)}"


def _weight(rollout: Rollout, partitions: int) -> int:
    going = [one.partitions for one in rollout.processors.values() if one.target and rollout.stable]
    return round(100 * min(going) / partitions) if going else 100 if rollout.stable else 0


def _rollback(rollout: Rollout) -> LastRollback | None:
    why = rollout.last_rollback
    if why is None:
        return None
    return LastRollback(
        time=moment(why.at),
        reason=why.reason,
        message=why.message,
        release=why.release,
        processor=why.processor,
        revision=why.revision,
        metric=why.metric,
        value=why.value,
        threshold=why.threshold,
    )
