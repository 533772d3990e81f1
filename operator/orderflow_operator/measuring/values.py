"""From two readings of the same pods to the number that a gate is about. Pure."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orderflow_operator.measuring.readings import Reading
from orderflow_operator.rollout.model import LettersSeen

Readings = Mapping[str, Reading]
"""By pod."""

ENOUGH_CALLS: Final = 25
"""Below so many calls their failures are chance: one in twenty-five is four per cent."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number, if there is one, over so many messages; else why not."""

    number: float | None
    samples: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """What one pod did between two readings. A pod that is new, or has begun anew, did all that it counts."""

    before: Reading
    after: Reading

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.after.at - self.before.at

    def grown(self, count: Callable[[Reading], float]) -> float:
        """Return by how much a counter has grown."""
        return max(0.0, count(self.after) - count(self.before))


def spans(before: Readings, after: Readings) -> list[Span]:
    """Return what each pod that is there now did since it was read before."""
    found = []
    for pod, now in after.items():
        then = before.get(pod)
        if then is None or then.started != now.started:
            then = Reading(at=now.at, started=now.started)
        found.append(Span(then, now))
    return found


def processed(between: list[Span]) -> float:
    """Return how many messages were processed."""
    return sum(span.grown(lambda one: one.processed) for span in between)


def error_rate(between: list[Span]) -> Value:
    """Return the share of messages that failed or of calls that have to be made again, whichever is larger."""
    messages = processed(between)
    if not messages:
        return Value(None, 0.0, "no messages were processed")
    rate = sum(span.grown(lambda one: one.failed) for span in between) / messages
    calls = sum(span.grown(lambda one: one.calls) for span in between)
    if calls >= ENOUGH_CALLS:
        rate = max(rate, sum(span.grown(lambda one: one.retries) for span in between) / calls)
    return Value(rate, messages)


def processing_p95(between: list[Span]) -> Value:
    """Return the 95th percentile of the time to record a batch, in seconds, by Prometheus' own rule."""
    counts = _bucket_counts(between)
    total = counts.get(math.inf, 0.0)
    if not total:
        return Value(None, 0.0, "no messages were processed")
    return Value(quantile(0.95, counts), processed(between))


def _bucket_counts(between: list[Span]) -> dict[float, float]:
    counts: dict[float, float] = {}
    for span in between:
        for bound, number in span.after.buckets.items():
            counts[bound] = counts.get(bound, 0.0) + max(0.0, number - span.before.buckets.get(bound, 0.0))
    return counts


def quantile(share: float, counts: Mapping[float, float]) -> float:
    """Return a quantile of a histogram: straight within a bucket, and the last bound where it is beyond all."""
    bounds = sorted(counts)
    rank = share * counts[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (counts[bound] - below)
        lower, below = bound, counts[bound]
    return lower


def lag_growth(between: list[Span]) -> Value:
    """Return by how many messages a second the lag of a partition grows, on average over the partitions.

    A partition counts that the pod had at both readings: what came with a partition is not its new owner's.
    """
    slopes: dict[str, float] = {}
    for span in between:
        if span.seconds <= 0:
            continue
        for place in span.after.lag.keys() & span.before.lag.keys():
            grown = (span.after.lag[place] - span.before.lag[place]) / span.seconds
            slopes[place[1]] = slopes.get(place[1], 0.0) + grown
    if not slopes:
        return Value(None, None, "no partition was there all the time")
    return Value(sum(slopes.values()) / len(slopes))


def rate(between: list[Span]) -> float:
    """Return how many messages a second were recorded."""
    seconds = max((span.seconds for span in between), default=0.0)
    return processed(between) / seconds if seconds > 0 else 0.0


def letters_seen(stable: Readings, revision: str) -> LettersSeen:
    """Return what stable's pods say of the dead letters of ``revision``; each of them looks at all."""
    its_own = max((one.judged.get((revision, "revision"), 0.0) for one in stable.values()), default=0.0)
    shared = max((one.judged.get((revision, "message"), 0.0) for one in stable.values()), default=0.0)
    example = f"{its_own:g} messages, which `orderflow dlq list` names" if its_own else ""
    return LettersSeen(revision=revision, its_own=int(its_own), shared=int(shared), example=example)


MEASURES: Final[Mapping[str, Callable[[list[Span]], Value]]] = {
    "error-rate": error_rate,
    "processing-seconds-p95": processing_p95,
    "lag-growth": lag_growth,
}
"""The built-in gates that the pods' own metrics answer."""
