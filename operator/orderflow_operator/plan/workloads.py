"""What runs: a Deployment per revision of a processor, one per API, and a Job that prepares a revision."""

import msgspec

from orderflow_operator.manifest import Manifest, Owner, owned
from orderflow_operator.names import COMPONENT, CONTEXT, INSTANCE, REVISION, api_name, labels, processor_name
from orderflow_operator.plan.pods import FILE, SHARE_FILE, TERMINATION_LOG, api_pod, job_pod, processor_pod, share_name
from orderflow_operator.revisions import Revision
from orderflow_operator.settings import file_of
from orderflow_operator.sparse import digest

SILENT_SECONDS = 600
"""After so long without a step a Deployment says that it does not get on; the rollout's own deadline is another."""

JOB_SECONDS = 600
"""A migration that takes longer is ended, and said to have failed."""
JOB_KEPT_SECONDS = 600
"""A job is there for so long after its end, for people to read; one that has failed is tried again after that."""
JOB_RETRIES = 4

SHADOW_RETRIES = 1
"""A database that is away for a moment; what fails twice for a reason of its own fails always."""


def processor(owner: Owner, revision: Revision, replicas: int) -> Manifest:
    """Return the Deployment of one revision of a processor."""
    own = {**labels(owner.name, revision.context), CONTEXT: revision.context, REVISION: revision.name}
    content = {
        "replicas": replicas,
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": SILENT_SECONDS,
        # Never a pod more than there are partitions: what changes in place makes room first.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "selector": {"matchLabels": {key: own[key] for key in (INSTANCE, COMPONENT, REVISION)}},
        "template": processor_pod(owner, revision),
    }
    name = processor_name(owner.name, revision.context, revision.name)
    return owned(owner, "apps/v1", "Deployment", name, own, spec=content)


def share(owner: Owner, revision: Revision, partitions: int | None) -> Manifest:
    """Return the ConfigMap that tells a revision's pods how many partitions they may have, while they run."""
    own = {**labels(owner.name, revision.context), CONTEXT: revision.context, REVISION: revision.name}
    data = {SHARE_FILE: share_text(partitions)}
    return owned(owner, "v1", "ConfigMap", share_name(owner, revision), own, data=data)


def share_text(partitions: int | None) -> str:
    """Return how a share is written: a number, or ``all``."""
    return "all" if partitions is None else str(partitions)


def shadowing(owner: Owner, revision: Revision, sample: int, meant: tuple[str, ...]) -> Manifest:
    """Return the Job that has ``revision``'s code decide recorded decisions again; its pod's last word is the result.

    Args:
        sample: how many decisions at the most.
        meant: the differences that are meant: a message type, or ``TYPE=part,part``.
    """
    component = f"{revision.context}-shadow"
    own = {**labels(owner.name, component), CONTEXT: revision.context, REVISION: revision.name}
    command = ["orderflow", "shadow", revision.context, "--sample", str(sample), "--report", TERMINATION_LOG]
    for one in meant:
        command += ["--meant", one]
    content = {
        "backoffLimit": SHADOW_RETRIES,
        "activeDeadlineSeconds": JOB_SECONDS,
        "ttlSecondsAfterFinished": JOB_KEPT_SECONDS,
        "template": job_pod(owner, revision, component, command),
    }
    name = f"{owner.name}-{revision.context}-shadow-{digest([revision.name, sample, *meant])}"
    return owned(owner, "batch/v1", "Job", name, own, spec=content)


def api(owner: Owner, revision: Revision, replicas: int) -> Manifest:
    """Return the Deployment of a context's API, on ``revision``."""
    name = api_name(owner.name, revision.context)
    component = name.removeprefix(f"{owner.name}-")
    own = {**labels(owner.name, component), CONTEXT: revision.context}
    content = {
        "replicas": replicas,
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": SILENT_SECONDS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": {key: own[key] for key in (INSTANCE, COMPONENT)}},
        "template": api_pod(owner, revision, component),
    }
    return owned(owner, "apps/v1", "Deployment", name, own, spec=content)


def settings(owner: Owner, revision: Revision) -> Manifest:
    """Return the ConfigMap with a revision's settings, which nobody can change."""
    own = {**labels(owner.name, revision.context), CONTEXT: revision.context, REVISION: revision.name}
    name = processor_name(owner.name, revision.context, revision.name)
    data = {FILE: file_of(revision.settings, revision.name)}
    return owned(owner, "v1", "ConfigMap", name, own, data=data, immutable=True)


def record(owner: Owner, revision: Revision) -> Manifest:
    """Return the record of a revision, from which it can be run again. What is recorded never changes."""
    own = {**labels(owner.name, revision.context), CONTEXT: revision.context, REVISION: revision.name}
    name = processor_name(owner.name, revision.context, revision.name)
    data = msgspec.to_builtins(revision)
    return owned(owner, "apps/v1", "ControllerRevision", name, own, data=data, revision=1)


def allowing(owner: Owner, revision: Revision, allowed: tuple[str, ...], turn: str) -> Manifest:
    """Return the Job that migrates the context's database, by ``revision``'s code, and lets ``allowed`` alone write.

    Its name follows from what it does and from ``turn``: it runs once.
    """
    component = f"{revision.context}-migrate"
    own = {**labels(owner.name, component), CONTEXT: revision.context, REVISION: revision.name}
    command = ["orderflow", "migrate", "--context", revision.context]
    for name in allowed:
        command += ["--allow", name]
    content = {
        "backoffLimit": JOB_RETRIES,
        "activeDeadlineSeconds": JOB_SECONDS,
        "ttlSecondsAfterFinished": JOB_KEPT_SECONDS,
        "template": job_pod(owner, revision, component, command),
    }
    name = f"{owner.name}-{revision.context}-migrate-{digest([revision.name, *sorted(allowed), turn])}"
    return owned(owner, "batch/v1", "Job", name, own, spec=content)
