"""What pods say of themselves on ``/metrics``, and what two looks at it say of a revision: pure.

A counter that has gone down belongs to a container that was started anew: it counts from nothing. A pod that one of the
looks does not know says nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from orderflow_operator.rollout.model import Measurement

KEPT: Final = frozenset(
    {
        "orderflow_messages_processed_total",
        "orderflow_dead_letters_total",
        "orderflow_processing_seconds_bucket",
        "orderflow_processing_seconds_count",
        "orderflow_consumer_lag",
        "orderflow_group_member",
        "orderflow_partitions_allowed",
        "orderflow_partitions_assigned",
    }
)
"""What is read of all that a pod says."""

Values = Mapping[str, float]
"""The sum of a metric over its labels; of a histogram's buckets, by ``name|bound``."""


class Look(msgspec.Struct, frozen=True):
    """What all pods said at one time, by the pod's name; a pod that did not answer is missing."""

    at: float
    pods: dict[str, dict[str, float]]


def values_of(text: str) -> dict[str, float]:
    """Return what is kept of a page in Prometheus' text format.

    Raises:
        ValueError: it is none.
    """
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in KEPT:
                bound = sample.labels.get("le")
                found[f"{sample.name}|{bound}" if bound is not None else sample.name] += sample.value
    return dict(found)


def is_outside(values: Values) -> bool:
    """Tell whether a pod says that it is out of its group and has read that it is to be."""
    return values.get("orderflow_group_member") == 0 and values.get("orderflow_partitions_allowed") == 0


def measured(gate: str, before: Look, after: Look, pods: Iterable[str]) -> Measurement:
    """Return a built-in gate's measurement of one revision's pods between two looks."""
    both = [name for name in pods if name in before.pods and name in after.pods]
    seconds = after.at - before.at
    if not both or seconds <= 0:
        return Measurement(at=after.at, why="its pods say nothing")
    changes = [_grown(before.pods[name], after.pods[name]) for name in both]
    match gate:
        case "error-rate":
            return _error_rate(after.at, changes)
        case "processing-seconds-p95":
            return _p95(after.at, changes)
        case "lag-growth":
            return _lag_growth(after.at, [(before.pods[name], after.pods[name]) for name in both], seconds)
    return Measurement(at=after.at, why=f"pods know nothing of {gate}")


def _grown(before: Values, after: Values) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) if value >= before.get(name, 0.0) else value
            for name, value in after.items()}  # fmt: skip


def _sum(changes: Iterable[Values], name: str) -> float:
    return sum(change.get(name, 0.0) for change in changes)


def _error_rate(at: float, changes: list[dict[str, float]]) -> Measurement:
    dead, processed = (
        _sum(changes, name) for name in ("orderflow_dead_letters_total", "orderflow_messages_processed_total")
    )
    if not processed:
        return Measurement(at=at, samples=0.0, why="no messages were processed")
    return Measurement(at=at, value=dead / processed, samples=processed)


def _p95(at: float, changes: list[dict[str, float]]) -> Measurement:
    buckets: dict[float, float] = defaultdict(float)
    for change in changes:
        for name, value in change.items():
            metric, separator, bound = name.partition("|")
            if separator and metric == "orderflow_processing_seconds_bucket":
                buckets[float(bound)] += value
    total = max(buckets.values(), default=0.0)
    if not total:
        return Measurement(at=at, samples=0.0, why="no batches were processed")
    processed = _sum(changes, "orderflow_messages_processed_total")
    return Measurement(at=at, value=_quantile(sorted(buckets.items()), 0.95 * total), samples=processed)


def _quantile(buckets: list[tuple[float, float]], rank: float) -> float:
    """Return the value at ``rank`` of cumulated counts, by a straight line within its bucket, as Prometheus does."""
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def _lag_growth(at: float, pairs: list[tuple[dict[str, float], dict[str, float]]], seconds: float) -> Measurement:
    """Return messages per second and partition; a pod whose partitions have changed meanwhile says nothing."""
    steady = [
        (before, after)
        for before, after in pairs
        if before.get("orderflow_partitions_assigned") == after.get("orderflow_partitions_assigned")
        and after.get("orderflow_partitions_assigned")
    ]
    partitions = sum(after["orderflow_partitions_assigned"] for _, after in steady)
    if not partitions:
        return Measurement(at=at, why="its partitions have just moved, or it has none")
    grown = sum(
        after.get("orderflow_consumer_lag", 0.0) - before.get("orderflow_consumer_lag", 0.0) for before, after in steady
    )
    return Measurement(at=at, value=grown / partitions / seconds)
