"""What must hold within what a resource says of rollouts, beyond the type of each field."""

from collections.abc import Iterable, Iterator, Mapping

from orderflow.spec.rollout import BUILT_IN_GATES, Autoscaling, Canary, Gate, Step, Strategy

Problems = Iterator[tuple[str, str]]
"""A field below the section that was asked about, and what is wrong with it."""


def strategy_problems(strategy: Strategy, partitions: int) -> Problems:
    """Yield what is wrong with a strategy over so many partitions."""
    named = _named(strategy)
    if len(named) != 1:
        yield "", f"expected exactly one of canary and blueGreen, got {' and '.join(named) or 'none'}"
    if strategy.canary is not None:
        for field, reason in _canary(strategy.canary, partitions):
            yield f"canary.{field}", reason


def _canary(canary: Canary, partitions: int) -> Problems:
    before = 0
    if canary.steps and share_of(canary.steps[0], partitions) is None:
        yield "steps[0]", "expected setWeight or setPartitions: before it there is nothing to wait for"
    for index, step in enumerate(canary.steps):
        place = f"steps[{index}]"
        named = _named(step)
        if len(named) != 1:
            choices = "setWeight, setPartitions, pause and analysis"
            yield place, f"expected exactly one of {choices}, got {' and '.join(named) or 'none'}"
        elif step.set_partitions is not None and step.set_partitions > partitions:
            reason = f"expected at most spec.broker.partitions ({partitions}), got {step.set_partitions}"
            yield f"{place}.setPartitions", reason
        share = share_of(step, partitions)
        if share is not None and share < before:
            yield place, f"expected no fewer partitions than in the step before ({before}), got {share}"
        before = share or before


def share_of(step: Step, partitions: int) -> int | None:
    """Return how many of so many partitions the step gives to the new revision; ``None`` if it gives none away.

    A weight is rounded to the nearest number of partitions, halves up, and never to none.
    """
    if step.set_partitions is not None:
        return min(step.set_partitions, partitions)
    if step.set_weight is not None:
        return max(1, (step.set_weight * partitions + 50) // 100)
    return None


def gate_problems(gates: Iterable[Gate]) -> Problems:
    """Yield what is wrong with the gates of one processor."""
    seen: dict[str, int] = {}
    for index, gate in enumerate(gates):
        if gate.name in seen:
            yield f"[{index}].name", f"{gate.name!r} stands in gates[{seen[gate.name]}] already"
        seen.setdefault(gate.name, index)
        built_in = gate.name in BUILT_IN_GATES
        if gate.prometheus is None and not built_in:
            known = ", ".join(BUILT_IN_GATES)
            yield f"[{index}].prometheus", f"missing: {gate.name!r} is no built-in gate, which are {known}"
        if not built_in and gate.threshold_range is None and gate.against_stable is None:
            yield f"[{index}].thresholdRange", "missing: a gate needs thresholdRange, againstStable, or both"
        if (limits := gate.threshold_range) is not None:
            if limits.min is None and limits.max is None:
                yield f"[{index}].thresholdRange", "expected min, max, or both"
            elif limits.min is not None and limits.max is not None and limits.min > limits.max:
                yield f"[{index}].thresholdRange.min", f"expected at most max ({limits.max:g}), got {limits.min:g}"


def analysis_problems(strategy: Strategy, gates: Iterable[Gate]) -> Problems:
    """Yield the gates that a strategy's steps name and nobody has."""
    known = {*BUILT_IN_GATES, *(gate.name for gate in gates)}
    for index, step in enumerate(strategy.canary.steps if strategy.canary is not None else ()):
        for place, name in enumerate(step.analysis.gates if step.analysis is not None else ()):
            if name not in known:
                yield f"canary.steps[{index}].analysis.gates[{place}]", f"there is no gate {name!r}"


def autoscaling_problems(scaling: Autoscaling, partitions: int) -> Problems:
    """Yield what is wrong with the autoscaling of a processor over so many partitions."""
    most = scaling.max_replicas if scaling.max_replicas is not None else partitions
    if most > partitions:
        reason = f"expected at most spec.broker.partitions ({partitions}), got {most}"
        yield "maxReplicas", f"{reason}: a replica without a partition has nothing to do"
    if scaling.min_replicas > most:
        yield "minReplicas", f"expected at most maxReplicas ({most}), got {scaling.min_replicas}"
    if scaling.activation_lag_threshold >= scaling.lag_threshold:
        reason = f"expected less than lagThreshold ({scaling.lag_threshold}), got {scaling.activation_lag_threshold}"
        yield "activationLagThreshold", reason


def dependency_problems(depends_on: Mapping[str, Iterable[str]]) -> Problems:
    """Yield the first processor of each circle of dependencies; the field begins with its name."""
    for name, direct in depends_on.items():
        circle = _circle(name, depends_on)
        if name in direct:
            yield f"{name}.dependsOn", "a processor cannot depend on itself"
        elif circle:
            yield f"{name}.dependsOn", f"the processors depend on one another in a circle: {' -> '.join(circle)}"
            return


def _circle(first: str, depends_on: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return a way from ``first`` back to it, or nothing."""
    ways: list[tuple[str, ...]] = [(first,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for following in depends_on.get(way[-1], ()):
            if following == first:
                return (*way, first)
            if following not in seen:
                seen.add(following)
                ways.append((*way, following))
    return ()


def _named(choice: Step | Strategy) -> list[str]:
    written = zip(choice.__struct_fields__, choice.__struct_encode_fields__, strict=True)
    return [outside for inside, outside in written if getattr(choice, inside) is not None]
