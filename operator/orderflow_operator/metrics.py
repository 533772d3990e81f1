"""The operator's own metrics. The names are part of the interface."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All of them, in a registry of their own. ``waiting`` counts the queue when somebody asks."""

    def __init__(self, waiting: Callable[[], int], resources: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "orderflow_operator_reconciles", "Looks at a resource, by result", ("result",), registry=self.registry
        )
        self.seconds = Histogram(
            "orderflow_operator_reconcile_seconds",
            "How long a look at a resource takes, writes included",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests = Counter(
            "orderflow_operator_api_requests", "Requests to the API server", ("method", "kind"), registry=self.registry
        )
        self.rollouts = Counter(
            "orderflow_operator_rollouts",
            "Rollouts that have ended, by resource and outcome",
            ("namespace", "orderflow", "outcome"),
            registry=self.registry,
        )
        self.detection = Histogram(
            "orderflow_operator_rollback_seconds",
            "From the look that found a release to be bad to the end of what takes it back",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.leading = Gauge(
            "orderflow_operator_leading", "1 while this operator is the one that writes", registry=self.registry
        )
        queue = Gauge("orderflow_operator_queue", "Resources that are to be looked at", registry=self.registry)
        queue.set_function(waiting)
        known = Gauge("orderflow_operator_resources", "Resources that are looked after", registry=self.registry)
        known.set_function(resources)

    def request(self, method: str, kind: str) -> None:
        """Count a request to the API server."""
        self.requests.labels(method, kind or "discovery").inc()
