"""What stands around the pods: how they are reached, what they may do, and what may be done to them."""

from orderflow.spec.resource import CONTEXTS, OrderFlow
from orderflow_operator.manifest import Manifest, Owner, owned
from orderflow_operator.names import (
    COMPONENT,
    CONTEXT,
    HEALTH_PORT,
    HTTP_PORT,
    INSTANCE,
    REVISION,
    account_name,
    api_name,
    labels,
)

MONITORING = "monitoring.coreos.com/v1"


def account(owner: Owner, context: str) -> Manifest:
    """Return the account of a context's pods, which may do nothing: they have no business with the API server."""
    own = {**labels(owner.name, context), CONTEXT: context}
    name = account_name(owner.name, context)
    return owned(owner, "v1", "ServiceAccount", name, own, automountServiceAccountToken=False)


def service(owner: Owner, context: str, port: int) -> Manifest:
    """Return the Service of a context's API; for the order the gateway, at the port that the resource names."""
    name = api_name(owner.name, context)
    own = labels(owner.name, name.removeprefix(f"{owner.name}-"))
    content = {
        "selector": {key: own[key] for key in (INSTANCE, COMPONENT)},
        "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
    }
    return owned(owner, "v1", "Service", name, own, spec=content)


def budget(owner: Owner, component: str) -> Manifest:
    """Return the budget that lets a drained node take one pod of a component at a time.

    By their share, so that a single pod, too, can be moved.
    """
    own = labels(owner.name, component)
    content = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {key: own[key] for key in (INSTANCE, COMPONENT)}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return owned(owner, "policy/v1", "PodDisruptionBudget", f"{owner.name}-{component}", own, spec=content)


def policies(owner: Owner) -> list[Manifest]:
    """Return who may connect to what: metrics are anyone's, the gateway too, and read APIs the system's own."""
    mine = {"podSelector": {"matchLabels": {INSTANCE: owner.name}}}
    read_apis = [f"{context}-api" for context in CONTEXTS if context != "order"]
    return [
        _policy(owner, "processors", CONTEXTS, {"ports": [_port(HEALTH_PORT)]}),
        _policy(owner, "gateway", ("gateway",), {"ports": [_port(HTTP_PORT)]}),
        _policy(owner, "read-apis", read_apis, {"ports": [_port(HTTP_PORT)], "from": [mine]}),
        _policy(owner, "jobs", [f"{one}-{job}" for one in CONTEXTS for job in ("migrate", "shadow")], None),
    ]


def monitor(owner: Owner) -> Manifest:
    """Return what tells Prometheus where the pods have their metrics, by revision."""
    kept = {INSTANCE: "orderflow", COMPONENT: "component", CONTEXT: "context", REVISION: "revision"}
    relabelings = [
        {"sourceLabels": [f"__meta_kubernetes_pod_label_{_metric(label)}"], "targetLabel": name}
        for label, name in kept.items()
    ]
    content = {
        "selector": {"matchLabels": {INSTANCE: owner.name}},
        "podMetricsEndpoints": [
            {"port": port, "path": "/metrics", "interval": "15s", "relabelings": relabelings}
            for port in ("metrics", "http")
        ],
    }
    own = labels(owner.name, "monitoring")
    return owned(owner, MONITORING, "PodMonitor", owner.name, own, spec=content)


def surroundings(owner: Owner, resource: OrderFlow, offered: frozenset[str]) -> list[Manifest]:
    """Return everything that does not change with a revision.

    Args:
        offered: the kinds of :data:`MONITORING` that the cluster has.
    """
    spec = resource.spec
    objects = [account(owner, context) for context in CONTEXTS]
    objects += [service(owner, one, spec.gateway.port if one == "order" else HTTP_PORT) for one in CONTEXTS]
    objects += [budget(owner, component) for component in (*CONTEXTS, "gateway")]
    if spec.network_policies.enabled:
        objects += policies(owner)
    if spec.monitoring.pod_monitor and "PodMonitor" in offered:
        objects.append(monitor(owner))
    return objects


def _policy(owner: Owner, name: str, components: tuple[str, ...] | list[str], allowed: Manifest | None) -> Manifest:
    content = {
        "podSelector": {
            "matchLabels": {INSTANCE: owner.name},
            "matchExpressions": [{"key": COMPONENT, "operator": "In", "values": list(components)}],
        },
        "policyTypes": ["Ingress"],
        "ingress": [allowed] if allowed is not None else [],
    }
    own = labels(owner.name, name)
    return owned(owner, "networking.k8s.io/v1", "NetworkPolicy", f"{owner.name}-{name}", own, spec=content)


def _port(number: int) -> Manifest:
    return {"port": number, "protocol": "TCP"}


def _metric(label: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in label)
