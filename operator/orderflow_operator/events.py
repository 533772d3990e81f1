"""Kubernetes Events of our own. Their reasons are stable: alerts and people look for them."""

from datetime import UTC, datetime
from uuid import uuid4

from orderflow_operator.manifest import Manifest
from orderflow_operator.names import GROUP, MANAGER, VERSION
from orderflow_operator.rollout.model import Say

LONGEST = 1024
"""Characters of a message: what the API server takes."""


def event(body: Manifest, say: Say, now: float) -> Manifest:
    """Return an Event about a resource."""
    metadata = body["metadata"]
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "OrderFlow",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reason": say.reason,
        "message": say.message[:LONGEST],
        "type": "Warning" if say.warning else "Normal",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
    }
