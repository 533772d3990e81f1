"""From what the rollout asks for to the objects that make it so: pure.

A revision gets its first pod when its database is ready for it: a Job migrates, and tells the database who may write.
What the Job has done stands in the status as ``prepared``; until then the revision's Deployment waits. A revision that
is taken back is forbidden to write by the same Job, in the same breath in which its pods are told to leave.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from orderflow.spec.resource import CONTEXTS, OrderFlow
from orderflow_operator.facts import Child, JobFacts, PodFacts
from orderflow_operator.manifest import Manifest, Owner
from orderflow_operator.observing import Known
from orderflow_operator.plan import workloads
from orderflow_operator.plan.surroundings import surroundings
from orderflow_operator.revisions import Copy, Revision
from orderflow_operator.rollout.model import Action, Allow, Rollout, RunShadow, Scale
from orderflow_operator.seen import Named

Prepared = Mapping[str, tuple[str, ...]]
"""By context, who may write to its database; a number before them counts how often that was changed."""


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be there.

    Attributes:
        objects: everything, in the order in which it is applied.
        copies: of ConfigMaps and Secrets, which ``objects`` depend on.
        prepared: who may write, as far as Jobs have seen to it.
        failed: contexts whose Job has failed, with its name.
        missing: revisions that are asked for and not on record, as ``context/revision``.
        nudges: by pod, the share that it has to be told of.
    """

    objects: tuple[Manifest, ...]
    copies: tuple[Copy, ...]
    prepared: dict[str, tuple[str, ...]]
    failed: dict[str, str]
    missing: tuple[str, ...]
    nudges: dict[str, str]


def carried(
    owner: Owner,
    resource: OrderFlow,
    rollout: Rollout,
    actions: Iterable[Action],
    children: Mapping[Named, Child],
    known: Known,
    prepared: Prepared,
    offered: frozenset[str] = frozenset(),
    *,
    has_topics: bool = True,
) -> Carried:
    """Return what is to be there for ``actions`` to be so.

    Args:
        offered: the kinds of Prometheus' operator that the cluster has.
        has_topics: whether the topics are there: no processor is started before, for none would be made for it later.
    """
    turn = _Turn(owner, children, known, dict(prepared), has_topics=has_topics)
    actions = tuple(actions)
    for allow in (one for one in actions if isinstance(one, Allow)):
        turn.allow(allow.processor, allow.revisions)
    for scale in (one for one in actions if isinstance(one, Scale)):
        turn.scale(scale)
    for shadow in (one for one in actions if isinstance(one, RunShadow)):
        turn.shadow(shadow, resource)
    for context in CONTEXTS:
        turn.serve(context, _serving(rollout, context), resource.spec.gateway.replicas if context == "order" else 1)
    kept = _remembered(rollout)
    return Carried(
        objects=(*surroundings(owner, resource, offered), *turn.records(kept), *turn.objects),
        copies=turn.copies(kept),
        prepared=turn.prepared,
        failed=turn.failed,
        missing=tuple(turn.missing),
        nudges=turn.nudges,
    )


class _Turn:
    def __init__(
        self,
        owner: Owner,
        children: Mapping[Named, Child],
        known: Known,
        prepared: dict[str, tuple[str, ...]],
        *,
        has_topics: bool,
    ) -> None:
        self._owner = owner
        self._children = children
        self._known = known
        self._has_topics = has_topics
        self.prepared = prepared
        self.nudges: dict[str, str] = {}
        self.objects: list[Manifest] = []
        self.failed: dict[str, str] = {}
        self.missing: list[str] = []
        self._used: dict[tuple[str, str], Revision] = {}

    def allow(self, context: str, revisions: tuple[str, ...]) -> None:
        """See to it that ``revisions`` alone may write to the context's database."""
        turn, *allowed = self.prepared.get(context, ("0",))
        if set(allowed) == set(revisions):
            return
        new = [one for one in revisions if one not in allowed]
        runner = self._revision(context, (new or list(revisions) or [""])[0])
        if runner is None:
            return
        # Counted, so that what was allowed, forbidden and allowed again is another Job.
        job = workloads.allowing(self._owner, runner, revisions, turn)
        name = job["metadata"]["name"]
        child = self._children.get(Named("Job", name))
        match child.facts if child is not None else None:
            case JobFacts(state="Complete"):
                self.prepared[context] = (str(int(turn) + 1), *revisions)
                return
            case JobFacts(state="Failed"):
                self.failed[context] = name
        self.objects.append(job)

    def scale(self, scale: Scale) -> None:
        """See to it that a revision has its pods, once it may have any."""
        revision = self._revision(scale.processor, scale.revision)
        if revision is None:
            return
        manifest = workloads.processor(self._owner, revision, scale.replicas)
        named = Named("Deployment", manifest["metadata"]["name"])
        if named in self._children or (self._may_run(revision) and self._has_topics):
            self.objects += [workloads.share(self._owner, revision, scale.partitions), manifest]
            self._nudge(revision, workloads.share_text(scale.partitions))

    def _nudge(self, revision: Revision, share: str) -> None:
        for named, child in self._children.items():
            pod = child.facts
            mine = isinstance(pod, PodFacts) and (pod.component, pod.revision) == (revision.context, revision.name)
            if isinstance(pod, PodFacts) and mine and pod.told != share and not pod.leaving:
                self.nudges[named.name] = share

    def shadow(self, shadow: RunShadow, resource: OrderFlow) -> None:
        """See to it that a revision decides recorded decisions again."""
        revision = self._revision(shadow.processor, shadow.revision)
        if revision is None:
            return
        wanted = resource.spec.processors.of(shadow.processor).shadow
        meant = tuple(f"{one.event}={','.join(one.parts)}" if one.parts else one.event for one in wanted.differences)
        self.objects.append(workloads.shadowing(self._owner, revision, wanted.sample_size, meant))

    def serve(self, context: str, name: str, replicas: int) -> None:
        """See to it that the context's API runs on the revision ``name``."""
        revision = self._revision(context, name) if name else None
        if revision is not None and self._may_run(revision):
            self.objects.append(workloads.api(self._owner, revision, replicas))

    def records(self, kept: Iterable[tuple[str, str]]) -> Iterator[Manifest]:
        """Yield the records of all revisions that may be run again, and the settings of those that run."""
        for place in kept:
            if (revision := self._known.get(place)) is not None:
                yield workloads.record(self._owner, revision)
        for revision in self._used.values():
            yield workloads.settings(self._owner, revision)

    def copies(self, kept: Iterable[tuple[str, str]]) -> tuple[Copy, ...]:
        """Return the copies that revisions which may be run again need."""
        found = [copy for place in kept if place in self._known for copy in self._known[place].copies]
        return tuple(dict.fromkeys(found))

    def _may_run(self, revision: Revision) -> bool:
        return revision.name in self.prepared.get(revision.context, ())

    def _revision(self, context: str, name: str) -> Revision | None:
        revision = self._known.get((context, name))
        if revision is None:
            self.missing.append(f"{context}/{name}")
        else:
            self._used[context, name] = revision
        return revision


def _serving(rollout: Rollout, context: str) -> str:
    """Return the revision that a context's API runs on: the proven one, or the first."""
    processor = rollout.processors.get(context)
    return (processor.stable or processor.target) if processor is not None else ""


def _remembered(rollout: Rollout) -> list[tuple[str, str]]:
    """Return every revision that runs, is on its way, or may be gone back to; in order, each once."""
    found: dict[tuple[str, str], None] = {}
    for context, processor in rollout.processors.items():
        for name in (processor.stable, processor.target, *processor.asked):
            found[context, name] = None
    for past in rollout.history:
        found |= dict.fromkeys(past.revisions.items())
    return [place for place in found if place[1]]
