"""What one pod says of itself at one moment: the few metrics of a processor that gates are about.

The names are those of ``orderflow.runtime.telemetry``; a test holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

FAILED_OUTCOMES = frozenset({"dead", "parked"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One pod's metrics; what only grows begins at nothing with the pod.

    Attributes:
        at: when it was read, in seconds since 1970.
        started: the pod's own start: a reading with another one is another process's.
        processed: messages; ``failed`` those of them that were given up or parked.
        calls: of providers; ``retries`` those of them that have to be made again.
        buckets: by upper bound in seconds, how many batches took at most so long.
        lag: by topic and partition.
        member: whether the pod may be in the consumer group.
        allowed: the partitions that it has read its revision may have; below zero is all.
        assigned: the partitions that it has.
        judged: by revision and fault (``revision`` or ``message``), open dead letters of other revisions.
    """

    at: float
    started: float = 0.0
    processed: float = 0.0
    failed: float = 0.0
    calls: float = 0.0
    retries: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)
    lag: Mapping[tuple[str, str], float] = field(default_factory=dict)
    member: bool = True
    allowed: int = -1
    assigned: int = 0
    judged: Mapping[tuple[str, str], float] = field(default_factory=dict)


def reading(text: str, at: float) -> Reading:
    """Return what the text of a pod's ``/metrics`` says.

    Raises:
        ValueError: it is no such text.
    """
    sums: dict[str, float] = {}
    failed = 0.0
    buckets: dict[float, float] = {}
    lag: dict[tuple[str, str], float] = {}
    judged: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
            if sample.name == "orderflow_messages_processed_total" and sample.labels["outcome"] in FAILED_OUTCOMES:
                failed += sample.value
            elif sample.name == "orderflow_processing_seconds_bucket":
                buckets[float(sample.labels["le"])] = sample.value
            elif sample.name == "orderflow_consumer_lag":
                lag[sample.labels["topic"], sample.labels["partition"]] = sample.value
            elif sample.name == "orderflow_dead_letters_judged":
                judged[sample.labels["revision"], sample.labels["fault"]] = sample.value
    return Reading(
        at=at,
        started=sums.get("process_start_time_seconds", 0.0),
        processed=sums.get("orderflow_messages_processed_total", 0.0),
        failed=failed,
        calls=sums.get("orderflow_provider_seconds_count", 0.0),
        retries=sums.get("orderflow_retries_total", 0.0),
        buckets=buckets,
        lag=lag,
        member=sums.get("orderflow_group_member", 1.0) != 0.0,
        allowed=int(sums.get("orderflow_partitions_allowed", -1.0)),
        assigned=int(sums.get("orderflow_partitions_assigned", 0.0)),
        judged=judged,
    )
