"""Where a rollout stands: its phase, and a reason and a sentence for it."""

from msgspec.structs import replace

from orderflow_operator.rollout.model import Rollout
from orderflow_operator.rollout.stepping import waits_for_a_person


def described(rollout: Rollout, held: str, problem: str) -> Rollout:
    """Return the rollout with its phase, and a reason and a sentence for it.

    Args:
        held: why it must not go on, as a reason and a sentence; empty if it may.
        problem: what keeps a pod from running; empty if nothing does.
    """
    if not rollout.stable:
        return replace(rollout, reason="Problem" if problem else "", message=problem)
    if not rollout.target:
        return replace(rollout, reason="Refused" if rollout.refused else "", message=_refusal(rollout))
    reason, _, message = held.partition(": ")
    if held:
        return replace(rollout, phase="Paused" if reason == "Paused" else "Holding", reason=reason, message=message)
    if any(map(waits_for_a_person, rollout.processors.values())):
        return replace(rollout, phase="Paused", reason="PauseStep", message="a step waits for resume or promote")
    stages = ", ".join(f"{name}: {one.stage}" for name, one in rollout.processors.items() if one.target)
    return replace(rollout, phase="Progressing", reason="Problem" if problem else "", message=problem or stages)


def _refusal(rollout: Rollout) -> str:
    why = rollout.last_rollback
    if not rollout.refused:
        return ""
    if why is None or why.release != rollout.refused:
        return f"release {rollout.refused} was undone"
    return f"{why.reason}: {why.message}"
