"""How a rollout is shown."""

from collections.abc import Iterator

from orderflow.rollouts.resources import Found
from orderflow.spec.status import GateResult, ProcessorStatus, Share


def rendered(found: Found) -> str:
    """Return everything that a person wants to know of a rollout, as text."""
    return "\n".join(_lines(found))


def line(found: Found) -> str:
    """Return how it stands, in one line."""
    status = found.status
    parts = (status.phase or "Unknown", f"step {status.step}" if status.step else "", f"{status.weight} %")
    return "  ".join(part for part in (*parts, status.message) if part)


def is_over(found: Found) -> bool:
    """Tell whether nothing is on its way any more, and the operator has seen what was applied last."""
    status = found.status
    conditions = {one.type: one for one in status.conditions}
    progressing = conditions.get("Progressing")
    seen = status.observed_generation >= found.generation
    return seen and progressing is not None and progressing.status == "False"


def went_well(found: Found) -> bool:
    """Tell whether what was applied last is what runs."""
    conditions = {one.type: one for one in found.status.conditions}
    return all(conditions[kind].status == "False" for kind in ("RolledBack", "Stalled") if kind in conditions)


def _lines(found: Found) -> Iterator[str]:
    status = found.status
    yield f"{found.namespace}/{found.name}: {line(found)}"
    yield f"release {status.revision}"
    for condition in status.conditions:
        yield f"  {condition.type:<12} {condition.status:<8} {condition.reason:<20} {condition.message}".rstrip()
    for name, processor in status.processors.items():
        yield f"{name:<13} {processor.stage or 'stable':<9} {processor.step:<5} stable {_share(processor.stable)}"
        if processor.canary.revision:
            yield f"{'':<29} canary {_share(processor.canary)}"
        yield from _gates(processor)
    if (why := status.last_rollback) is not None:
        yield f"last rollback {why.time}: {why.reason} {why.message}".rstrip()
    for past in reversed(status.history):
        yield f"  {past.time}  {past.release}"


def _share(share: Share) -> str:
    return f"{share.revision} {share.ready}/{share.replicas} ready, {share.partitions} partitions"


def _gates(processor: ProcessorStatus) -> Iterator[str]:
    for gate in processor.gates:
        yield f"{'':<16}{gate.name:<24} {gate.verdict:<13} {_figure(gate)} {gate.detail}".rstrip()


def _figure(gate: GateResult) -> str:
    return "" if gate.value is None else f"{gate.value:.4g}"
