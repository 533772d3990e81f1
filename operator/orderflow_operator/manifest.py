"""An object as the API server takes it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orderflow_operator.names import GROUP, VERSION

Manifest = dict[str, Any]

PLURALS: Final = {
    "OrderFlow": "orderflows",
    "Deployment": "deployments",
    "Pod": "pods",
    "Job": "jobs",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "ControllerRevision": "controllerrevisions",
    "PodMonitor": "podmonitors",
    "PrometheusRule": "prometheusrules",
    "Event": "events",
    "Lease": "leases",
}


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The resource that everything belongs to, and goes with."""

    name: str
    namespace: str
    uid: str

    def reference(self) -> Manifest:
        """Return the owner reference that has the garbage collector delete what the resource leaves behind."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "OrderFlow",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def owned(
    owner: Owner, api_version: str, kind: str, name: str, labels: Mapping[str, str], **content: object
) -> Manifest:
    """Return an object of the resource's."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": dict(labels),
            "ownerReferences": [owner.reference()],
        },
        **content,
    }


def path_of(api_version: str, kind: str, namespace: str, name: str = "") -> str:
    """Return where the API server has an object, or all of a kind in a namespace."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{within}/{PLURALS[kind]}" + (f"/{name}" if name else "")
