"""From what the watches and the broker have told to what the rollout is told: pure."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from orderflow.spec.resource import CONTEXTS
from orderflow_operator.facts import Child, DeploymentFacts, JobFacts, PodFacts
from orderflow_operator.names import HEALTH_PORT, processor_name
from orderflow_operator.revisions import Revision
from orderflow_operator.rollout.model import Declaration, ProcessorSeen, RevisionSeen, Rollout, ShadowSeen
from orderflow_operator.seen import Named

Known = Mapping[tuple[str, str], Revision]
"""By context and name, every revision that can be run."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a consumer group: the pod's name, and how many partitions of the command topic it has."""

    pod: str
    partitions: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A context's consumer group; ``lag`` is over everything that it reads."""

    members: tuple[Member, ...] = ()
    lag: int | None = None


Groups = Mapping[str, Group]
"""By context; one that the broker could not tell of is missing."""


def known_revisions(children: Mapping[Named, Child], fresh: Iterable[Revision] = ()) -> Known:
    """Return every revision that is on record, and those that are about to be."""
    recorded = [child.facts for child in children.values() if isinstance(child.facts, Revision)]
    return {(one.context, one.name): one for one in (*recorded, *fresh)}


def processors_seen(
    instance: str,
    children: Mapping[Named, Child],
    groups: Groups,
    rollout: Rollout,
    outside: Collection[str] = (),
) -> dict[str, ProcessorSeen]:
    """Return what is seen of each processor, revision by revision.

    Args:
        outside: the pods that say that they are out of their group, and are to be.
    """
    pods = {named.name: child.facts for named, child in children.items() if isinstance(child.facts, PodFacts)}
    seen: dict[str, ProcessorSeen] = {}
    for context in CONTEXTS:
        mine = {name: pod for name, pod in pods.items() if context in {pod.component, _migrated(pod)}}
        asked = rollout.processors[context].asked if context in rollout.processors else {}
        revisions = {pod.revision for pod in mine.values()} | asked.keys()
        seen[context] = ProcessorSeen(
            revisions={
                revision: _revision_seen(
                    {name: pod for name, pod in mine.items() if pod.revision == revision},
                    deployment_of(children, processor_name(instance, context, revision)),
                    groups.get(context),
                    outside,
                )
                for revision in revisions
            },
            shadow=_shadow_seen(context, children),
        )
    return seen


def _migrated(pod: PodFacts) -> str:
    """Return the context that a migration's pod works for: what keeps it from running keeps the revision from it."""
    return pod.component.removesuffix("-migrate") if pod.component.endswith("-migrate") else ""


def _revision_seen(
    pods: Mapping[str, PodFacts], deployment: DeploymentFacts | None, group: Group | None, outside: Collection[str]
) -> RevisionSeen:
    running = {name: pod for name, pod in pods.items() if not _migrated(pod)}
    # A pod that is about to be made may be there already.
    number = max(len(running), deployment.replicas if deployment is not None else 0)
    members = group.members if group is not None else ()
    return RevisionSeen(
        pods=number,
        ready=sum(pod.ready and not pod.leaving for pod in running.values()),
        members=number - sum(name in outside for name in running),
        assigned=sum(member.partitions for member in members if member.pod in running),
        restarts=sum(pod.restarts for pod in running.values()),
        problem=next((pod.problem for pod in pods.values() if pod.problem), ""),
    )


def _shadow_seen(context: str, children: Mapping[Named, Child]) -> ShadowSeen | None:
    """Return how the shadow step of the context's newest revision has ended, if it has."""
    ended = [
        pod
        for child in children.values()
        if isinstance(pod := child.facts, PodFacts) and pod.component == f"{context}-shadow" and pod.word
    ]
    failed = [
        job
        for child in children.values()
        if isinstance(job := child.facts, JobFacts) and job.component == f"{context}-shadow" and job.state == "Failed"
    ]
    if failed:
        fault = "its code could not decide recorded decisions at all: see the shadow job's log"
        return ShadowSeen(revision=failed[-1].revision, at=failed[-1].ended_at, fault=fault)
    if not ended:
        return None
    last = max(ended, key=lambda pod: pod.ended_at)
    try:
        told = msgspec.json.decode(last.word, type=_ShadowWord)
    except msgspec.DecodeError as error:
        return ShadowSeen(revision=last.revision, at=last.ended_at, fault=f"its result cannot be read: {error}")
    return ShadowSeen(
        revision=last.revision,
        at=last.ended_at,
        compared=told.compared,
        fault=told.fault,
        declaration=told.declaration,
    )


class _ShadowWord(msgspec.Struct, frozen=True, kw_only=True):
    compared: int
    fault: str
    declaration: Declaration


def addresses(children: Mapping[Named, Child], contexts: Collection[str]) -> dict[str, str]:
    """Return the roots of the servers that have the metrics of these contexts' processors, by pod."""
    pods = {named.name: child.facts for named, child in children.items() if isinstance(child.facts, PodFacts)}
    return {name: _root(pod.address) for name, pod in pods.items() if pod.component in contexts and pod.address}


def _root(address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{HEALTH_PORT}"


def pods_of(children: Mapping[Named, Child], context: str, revision: str) -> list[str]:
    """Return the pods of one revision of a processor, by name."""
    pods = ((named.name, child.facts) for named, child in children.items())
    return [
        name for name, pod in pods if isinstance(pod, PodFacts) and (pod.component, pod.revision) == (context, revision)
    ]


def with_processors(children: Mapping[Named, Child]) -> list[str]:
    """Return the contexts that have a processor's pod which may be in a consumer group."""
    pods = [child.facts for child in children.values() if isinstance(child.facts, PodFacts)]
    there = {pod.component for pod in pods if pod.address or pod.ready}
    return [context for context in CONTEXTS if context in there]


def unscheduled(children: Mapping[Named, Child]) -> str:
    """Return why some pod has no node; empty if each has one."""
    pods = (child.facts for child in children.values() if isinstance(child.facts, PodFacts))
    return next((pod.unscheduled for pod in pods if pod.unscheduled), "")


def deployment_of(children: Mapping[Named, Child], name: str) -> DeploymentFacts | None:
    """Return how a Deployment stands."""
    child = children.get(Named("Deployment", name))
    return child.facts if child is not None and isinstance(child.facts, DeploymentFacts) else None
