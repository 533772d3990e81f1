"""What things are called in the cluster. Names and labels are part of the interface: people select by them."""

from typing import Final

GROUP: Final = "orderflow.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "orderflows"

MANAGER: Final = "orderflow-operator"
"""The one field manager of server-side apply, and what ``app.kubernetes.io/managed-by`` says."""

FINALIZER: Final = f"{GROUP}/topics"
"""Stands on a resource whose topics go with it, and on no other: then nothing waits for a broker."""

INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
REVISION: Final = f"{GROUP}/revision"
PARTITIONS: Final = f"{GROUP}/partitions"
"""The annotation of a pod with the share that it was last told of: a change has the kubelet bring the file at once."""
CONTEXT: Final = f"{GROUP}/context"

HEALTH_PORT: Final = 8081
"""Where a processor's pod has its health and metrics."""
HTTP_PORT: Final = 8080
"""Where an API's pod listens, with its health and metrics."""

LONGEST_NAME: Final = 30
"""Characters of a resource's name: with a context, a revision and a job's suffix it stays a label, of 63."""


def labels(instance: str, component: str) -> dict[str, str]:
    """Return the labels of everything that belongs to one component of a resource."""
    return {
        "app.kubernetes.io/name": "orderflow",
        INSTANCE: instance,
        COMPONENT: component,
        MANAGED_BY: MANAGER,
    }


def processor_name(instance: str, context: str, revision: str) -> str:
    """Return the name of the Deployment, the ConfigMap and the record of one revision of a processor."""
    return f"{instance}-{context}-{revision}"


def api_name(instance: str, context: str) -> str:
    """Return the name of a context's API; the order's is the gateway."""
    return f"{instance}-gateway" if context == "order" else f"{instance}-{context}-api"


def account_name(instance: str, context: str) -> str:
    """Return the name of a context's service account and of the policies about its pods."""
    return f"{instance}-{context}"
