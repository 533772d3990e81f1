"""The pods of a revision: one container, without rights, that writes nothing but its own temporary folder."""

from collections.abc import Sequence
from typing import Any, Final

from orderflow_operator.manifest import Manifest, Owner
from orderflow_operator.names import (
    COMPONENT,
    CONTEXT,
    HEALTH_PORT,
    HTTP_PORT,
    INSTANCE,
    REVISION,
    account_name,
    labels,
    processor_name,
)
from orderflow_operator.revisions import Revision
from orderflow_operator.settings import CREDENTIALS

SETTINGS: Final = "/etc/orderflow"
FILE: Final = "deployment.json"
SHARE_FOLDER: Final = "/etc/orderflow-share"
SHARE_FILE: Final = "partitions"
TERMINATION_LOG: Final = "/dev/termination-log"
"""Where a container leaves its last word."""

REQUESTS: Final = {"cpu": "100m", "memory": "192Mi"}
LIMITS: Final = {"memory": "512Mi"}
"""What a processor takes under load, and several times what it takes at rest. The processor time has no limit: a
throttled processor is late, and holds locks meanwhile."""

START_SECONDS: Final = 2
STARTS: Final = 90
"""A process that is not alive three minutes after its start never will be: on a crowded node Python starts slowly."""


def processor_pod(owner: Owner, revision: Revision) -> Manifest:
    """Return the template of the pods that take messages.

    How many partitions they may have together stands in a ConfigMap of its own, and changes while they run.
    """
    command = ["orderflow", "run", revision.context, "--instance", "$(POD_NAME)"]
    template = _template(owner, revision, revision.context, command, ("metrics", HEALTH_PORT))
    container = template["spec"]["containers"][0]
    container["env"].append({"name": "ORDERFLOW_SHARE", "value": f"{SHARE_FOLDER}/{SHARE_FILE}"})
    # The whole folder: a file that is mounted by itself never sees the next content.
    container["volumeMounts"].append({"name": "share", "mountPath": SHARE_FOLDER, "readOnly": True})
    template["spec"]["volumes"].append({"name": "share", "configMap": {"name": share_name(owner, revision)}})
    return template


def share_name(owner: Owner, revision: Revision) -> str:
    """Return the name of the ConfigMap with the share of a revision's pods."""
    return f"{processor_name(owner.name, revision.context, revision.name)}-share"


def api_pod(owner: Owner, revision: Revision, component: str) -> Manifest:
    """Return the template of the pods that answer requests."""
    command = ["orderflow", "api", revision.context, "--instance", "$(POD_NAME)"]
    return _template(owner, revision, component, command, ("http", HTTP_PORT))


def job_pod(owner: Owner, revision: Revision, component: str, command: Sequence[str]) -> Manifest:
    """Return the template of a pod that does one thing and ends."""
    template = _template(owner, revision, component, list(command), None)
    template["spec"]["restartPolicy"] = "Never"
    return template


def _template(
    owner: Owner, revision: Revision, component: str, command: list[str], port: tuple[str, int] | None
) -> Manifest:
    pods = revision.pods
    own = {**labels(owner.name, component), CONTEXT: revision.context, REVISION: revision.name}
    metadata: Manifest = {"labels": {**pods.labels, **own}}
    if pods.annotations:
        metadata["annotations"] = dict(pods.annotations)
    spec: Manifest = {
        "serviceAccountName": account_name(owner.name, revision.context),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": pods.termination_grace_period_seconds,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(owner, revision, command, port)],
        "volumes": _volumes(owner, revision),
    }
    if port is not None:
        spec["topologySpreadConstraints"] = _spread(owner, component)
    if pods.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": one.name} for one in pods.image_pull_secrets]
    if pods.node_selector:
        spec["nodeSelector"] = dict(pods.node_selector)
    if pods.priority_class_name:
        spec["priorityClassName"] = pods.priority_class_name
    return {"metadata": metadata, "spec": spec}


def _container(owner: Owner, revision: Revision, command: list[str], port: tuple[str, int] | None) -> Manifest:
    container: Manifest = {
        "name": "orderflow",
        "image": revision.image,
        "imagePullPolicy": revision.pods.image_pull_policy,
        "command": command,
        "env": _environment(revision),
        "resources": _resources(revision),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(revision),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if revision.copies:
        container["envFrom"] = [
            {f"{one.kind[0].lower()}{one.kind[1:]}Ref": {"name": one.name_in(owner.name)}} for one in revision.copies
        ]
    if port is not None:
        container |= _served(*port)
    return container


def _served(name: str, number: int) -> Manifest:
    def probe(path: str, **times: int) -> Manifest:
        return {"httpGet": {"path": path, "port": name}, "timeoutSeconds": 5, **times}

    return {
        "ports": [{"name": name, "containerPort": number, "protocol": "TCP"}],
        "startupProbe": probe("/health/live", periodSeconds=START_SECONDS, failureThreshold=STARTS),
        "livenessProbe": probe("/health/live", periodSeconds=10, failureThreshold=3),
        "readinessProbe": probe("/health/ready", periodSeconds=5, failureThreshold=2),
    }


def _environment(revision: Revision) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ORDERFLOW_DEPLOYMENT", "value": f"{SETTINGS}/{FILE}"},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the pod's own
    ]
    said = {one.name: one.value for one in revision.env}
    taken = {one["name"] for one in own}
    return [*own, *({"name": name, "value": value} for name, value in said.items() if name not in taken)]


def _resources(revision: Revision) -> dict[str, dict[str, str]]:
    said = revision.resources
    return {"requests": {**REQUESTS, **said.requests}, "limits": {**LIMITS, **said.limits}}


def _mounts(revision: Revision) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "settings", "mountPath": f"{SETTINGS}/{FILE}", "subPath": FILE, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    if revision.credentials:
        # The whole folder: a file that is mounted by itself never sees the Secret's next content.
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True})
    return mounts


def _volumes(owner: Owner, revision: Revision) -> list[dict[str, Any]]:
    settings = processor_name(owner.name, revision.context, revision.name)
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": settings}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if revision.credentials:
        volumes.append({"name": "credentials", "secret": {"secretName": revision.credentials}})
    return volumes


def _spread(owner: Owner, component: str) -> list[dict[str, Any]]:
    selector = {"matchLabels": {INSTANCE: owner.name, COMPONENT: component}}
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
