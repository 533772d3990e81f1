"""What is kept of the objects in the cluster: the few facts that anything depends on, and never a Secret's content."""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from orderflow_operator.manifest import Manifest
from orderflow_operator.names import COMPONENT, CONTEXT, INSTANCE, MANAGER, PARTITIONS, REVISION
from orderflow_operator.revisions import Revision
from orderflow_operator.sparse import digest

FAULTS: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Why a container waits, where waiting does not help."""


class PodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A pod.

    Attributes:
        problem: what keeps it from running; ``unscheduled`` is why it has no node.
        told: the share that it was last told of.
        word: what its container left behind when it ended, at ``ended_at``, with success.
    """

    component: str
    context: str
    revision: str
    ready: bool = False
    leaving: bool = False
    restarts: int = 0
    problem: str = ""
    unscheduled: str = ""
    address: str = ""
    told: str = ""
    word: str = ""
    ended_at: float = 0.0


class DeploymentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment, as its controller last saw it; ``current`` if that was after its last change."""

    replicas: int = 0
    ready: int = 0
    updated: int = 0
    current: bool = False


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Job and how it stands; ``ended_at`` is when it failed."""

    component: str = ""
    revision: str = ""
    state: Literal["Running", "Complete", "Failed"] = "Running"
    ended_at: float = 0.0


Facts = PodFacts | DeploymentFacts | JobFacts | Revision | None


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a resource's.

    Attributes:
        owner: the uid of the resource that it belongs to.
        ours: a digest of the fields that are the operator's: another one as soon as somebody else changes one of them.
    """

    owner: str
    ours: str
    facts: Facts = None


def child_of(kind: str, body: Manifest) -> Child:
    """Return what is kept of an object of the operator's."""
    metadata = body["metadata"]
    owners = [one["uid"] for one in metadata.get("ownerReferences", ()) if one.get("controller")]
    return Child(owner=owners[0] if owners else "", ours=_ours(metadata), facts=_facts(kind, body))


def instance_of(body: Manifest) -> str:
    """Return the name of the resource that an object says it belongs to."""
    name: str = body["metadata"].get("labels", {}).get(INSTANCE, "")
    return name


def content_of(body: Manifest) -> str:
    """Return the digest of what a ConfigMap or Secret holds."""
    return digest([body.get("data") or {}, body.get("binaryData") or {}])


def _facts(kind: str, body: Manifest) -> Facts:
    match kind:
        case "Pod":
            return pod_facts(body)
        case "Deployment":
            return _deployment(body)
        case "Job":
            return _job(body)
        case "ControllerRevision":
            return _revision(body)
    return None


def pod_facts(body: Manifest) -> PodFacts:
    """Return what is kept of a pod."""
    labels, status = body["metadata"].get("labels", {}), body.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    containers: list[dict[str, Any]] = status.get("containerStatuses", [])
    scheduled = conditions.get("PodScheduled", {})
    ended: dict[str, Any] = next((state for one in containers if (state := one.get("state", {}).get("terminated"))), {})
    problems = [problem for one in containers if (problem := _problem(one))]
    return PodFacts(
        component=labels.get(COMPONENT, ""),
        context=labels.get(CONTEXT, ""),
        revision=labels.get(REVISION, ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        leaving="deletionTimestamp" in body["metadata"],
        restarts=sum(one.get("restartCount", 0) for one in containers),
        problem=problems[0] if problems else "",
        unscheduled=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        address=status.get("podIP", ""),
        told=body["metadata"].get("annotations", {}).get(PARTITIONS, ""),
        word=ended.get("message", "") if ended.get("exitCode") == 0 else "",
        ended_at=_seconds(ended.get("finishedAt")),
    )


def _problem(container: dict[str, Any]) -> str:
    waiting = container.get("state", {}).get("waiting") or {}
    if waiting.get("reason") not in FAULTS:
        return ""
    ended = container.get("lastState", {}).get("terminated") or {}
    told = ended.get("reason", "") if waiting["reason"] == "CrashLoopBackOff" else waiting.get("message", "")
    return f"{waiting['reason']}: {told}" if told else str(waiting["reason"])


def _deployment(body: Manifest) -> DeploymentFacts:
    status = body.get("status", {})
    return DeploymentFacts(
        replicas=body["spec"].get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        updated=status.get("updatedReplicas", 0),
        current=status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0),
    )


def _job(body: Manifest) -> JobFacts:
    labels = body["metadata"].get("labels", {})
    held = {one["type"]: one for one in body.get("status", {}).get("conditions", ()) if one["status"] == "True"}
    return JobFacts(
        component=labels.get(COMPONENT, ""),
        revision=labels.get(REVISION, ""),
        state="Complete" if "Complete" in held else "Failed" if "Failed" in held else "Running",
        ended_at=_seconds(held.get("Failed", {}).get("lastTransitionTime")),
    )


def _revision(body: Manifest) -> Revision | None:
    try:
        return msgspec.convert(body.get("data"), Revision)
    except msgspec.ValidationError:
        return None  # another version's, or nobody's: it cannot be run again


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _ours(metadata: Manifest) -> str:
    entries = metadata.get("managedFields", ())
    mine = [one.get("fieldsV1") for one in entries if one.get("manager") == MANAGER and one.get("operation") == "Apply"]
    return digest(mine) if mine else ""
