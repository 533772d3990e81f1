"""Replicas by lag.

As many as keep the lag of each below its threshold; a number that divides the partitions where one is near, so that all
have equally many; no sooner than it has been wanted throughout the stabilization window; and never again soon what was
tried and did not help: if the rate did not rise with the replicas, they wait for something else.
"""

from typing import Final

from msgspec.structs import replace

from orderflow.spec.rollout import Autoscaling
from orderflow_operator.rollout.model import LoadSeen, ScalingMemory

JUDGED_AFTER: Final = 60.0
"""Seconds from a raise until it is judged: pods start, partitions move, and the rate is measured anew."""
HELPED: Final = 1.05
"""The rate has to be this many times what it was; what is less is noise."""
CEILING_LASTS: Final = 1800.0
"""Seconds for which a number of replicas that did not help is not exceeded."""


def needed(rules: Autoscaling, lag: int, partitions: int) -> int:
    """Return how many replicas this lag asks for, within the bounds; a divisor of the partitions where one is near."""
    least, most = bounds(rules, partitions)
    if lag <= rules.activation_lag_threshold:
        return least
    wanted = min(most, max(least, -(-lag // rules.lag_threshold)))
    return even(wanted, most, partitions)


def bounds(rules: Autoscaling, partitions: int) -> tuple[int, int]:
    """Return the least and the most replicas."""
    most = min(partitions, rules.max_replicas if rules.max_replicas is not None else partitions)
    return min(rules.min_replicas, most), most


def even(wanted: int, most: int, partitions: int) -> int:
    """Return the next divisor of the partitions from ``wanted`` on, if it is within bounds and not twice as many."""
    for number in range(wanted, min(most, 2 * wanted - 1) + 1):
        if partitions % number == 0:
            return number
    return wanted


def scaled(memory: ScalingMemory, rules: Autoscaling, load: LoadSeen, replicas: int, partitions: int) -> ScalingMemory:
    """Return the memory after a look at the load; its ``replicas`` are what there should be.

    Args:
        replicas: how many there are to be now.
    """
    if load.at <= memory.seen_at:
        return replace(memory, replicas=memory.replicas or replicas)
    memory = _judged(memory, load, replicas)
    wish = needed(rules, load.lag, partitions)
    recommended = _within_window(memory, rules, load, wish)
    memory = replace(memory, recommended=recommended, seen_at=load.at)
    least, most = bounds(rules, partitions)
    ceiling = memory.ceiling if memory.ceiling and load.at < memory.ceiling_until else most
    up = min(_since(recommended, load.at - rules.scale_up.stabilization_window_seconds))
    down = max(_since(recommended, load.at - rules.scale_down.stabilization_window_seconds))
    chosen = max(least, min(ceiling, most, max(up, min(replicas, down))))
    return _changed(memory, load, replicas, chosen)


def _within_window(
    memory: ScalingMemory, rules: Autoscaling, load: LoadSeen, wish: int
) -> tuple[tuple[float, int], ...]:
    """Return the recommendations to look back at. Of equal ones in a row the first and the last tell all."""
    window = max(rules.scale_up.stabilization_window_seconds, rules.scale_down.stabilization_window_seconds)
    kept = [*((at, number) for at, number in memory.recommended if at >= load.at - window), (load.at, wish)]
    told = [
        one
        for place, one in enumerate(kept)
        if place in {0, len(kept) - 1} or not kept[place - 1][1] == one[1] == kept[place + 1][1]
    ]
    return tuple(told)


def _since(recommended: tuple[tuple[float, int], ...], start: float) -> list[int]:
    """Return the recommendations since ``start``, and the one that held when it began."""
    before = [number for at, number in recommended if at <= start]
    return [*before[-1:], *(number for at, number in recommended if at > start)]


def _judged(memory: ScalingMemory, load: LoadSeen, replicas: int) -> ScalingMemory:
    """Look back at the last raise: one that did not help is taken back, and not tried again for a while."""
    if not memory.raised_at or load.at < memory.raised_at + JUDGED_AFTER:
        return memory
    helped = load.rate >= memory.rate_before * HELPED
    if helped or not load.lag or replicas <= memory.raised_from:
        return replace(memory, raised_at=0.0)
    return replace(
        memory,
        raised_at=0.0,
        ceiling=memory.raised_from,
        ceiling_until=load.at + CEILING_LASTS,
        why=f"{replicas} replicas recorded no more than {memory.raised_from}: {load.rate:.0f} messages per second",
    )


def _changed(memory: ScalingMemory, load: LoadSeen, replicas: int, chosen: int) -> ScalingMemory:
    if chosen > replicas:
        return replace(
            memory,
            replicas=chosen,
            raised_at=load.at,
            raised_from=replicas,
            rate_before=load.rate,
            why=f"{load.lag} messages of lag",
        )
    return replace(memory, replicas=chosen, raised_at=memory.raised_at if chosen == replicas else 0.0)
