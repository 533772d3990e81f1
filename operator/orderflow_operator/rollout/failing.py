"""Why a release has to be taken back: the first reason that is found, of any of its processors."""

from collections.abc import Iterator

from orderflow_operator.rollout import gates
from orderflow_operator.rollout.gates import Policy
from orderflow_operator.rollout.model import GateMemory, ProcessorRollout, ProcessorSeen, Rollback, Rollout
from orderflow_operator.rollout.placing import seen_of

RESTARTS = 2
"""A pod that starts anew disturbs the group twice, when it goes and when it comes: the second time is the last."""


def failures(
    rollout: Rollout, name: str, seen: ProcessorSeen, policies: dict[str, Policy], now: float
) -> Iterator[Rollback]:
    """Yield what speaks against the target of the processor ``name``, what is certain first."""
    processor = rollout.processors[name]

    def because(reason: str, message: str, policy: Policy | None = None, value: float | None = None) -> Rollback:
        return Rollback(
            release=rollout.target,
            reason=reason,
            message=f"{name}: {message}",
            at=now,
            processor=name,
            revision=processor.target,
            metric=policy.name if policy is not None else "",
            value=value,
            threshold=policy.threshold if policy is not None else "",
        )

    if processor.stage != "Waiting" and (fault := _shadow_fault(processor, seen, rollout.started_at)):
        yield because(*fault)
    letters, policy = seen.letters, policies["dead-letters"]
    if letters is not None and letters.revision == processor.target and letters.its_own and not policy.dry_run:
        yield because(
            "DeadLettersOfItsOwn",
            f"stable decides what the new revision gave up on: {letters.example}",
            policy,
            float(letters.its_own),
        )
    restarts = processor.restarts
    policy = policies["readiness"]
    if restarts >= RESTARTS and not policy.dry_run:
        yield because("Restarts", f"its containers have restarted {restarts} times", policy, float(restarts))
    for gate, policy in policies.items():
        memory = processor.gates.get(gate, GateMemory())
        if gates.failed(policy, memory):
            yield because("GateFailed", f"{gate} was {memory.detail}", policy, memory.value)


def _shadow_fault(processor: ProcessorRollout, seen: ProcessorSeen, since: float) -> tuple[str, str] | None:
    found = seen.shadow
    if found is None or found.revision != processor.target or found.at < since:
        return None
    if found.fault:
        return "ShadowDiffers", found.fault
    ours, theirs = processor.declaration, found.declaration
    if ours is None:
        return None
    if unread := sorted(theirs.writes - ours.reads):
        return "NoWayBack", f"it writes {', '.join(unread)}, which stable does not read"
    if theirs.topology != ours.topology and not processor.blue_green:
        return "AnotherTopology", "its topics or tables are others than stable's, which blueGreen alone can change"
    return None


def overdue(rollout: Rollout, seen: dict[str, ProcessorSeen], now: float) -> Rollback:
    """Return why a release that made no progress in time is taken back: what its pods lack, if anything is known."""
    named = rollout.processors
    name, processor = next(
        ((name, one) for name, one in named.items() if one.target and one.stage != "Moved"), next(iter(named.items()))
    )
    problem = seen_of(seen.get(name, ProcessorSeen()), processor.target).problem
    return Rollback(
        release=rollout.target,
        reason="ProgressDeadlineExceeded",
        message=f"{name}: no progress in the stage {processor.stage}{': ' if problem else ''}{problem}",
        at=now,
        processor=name,
        revision=processor.target,
    )
