"""One look at one resource: from everything that is known of it to everything that is to be so. Pure.

Nothing here asks or changes anything. So an operator that was restarted in the middle, an event that came twice and one
that never came make no difference: the next look sees what there is.
"""

from collections.abc import Iterable, Mapping

import msgspec

from orderflow.spec.errors import SpecError
from orderflow.spec.resource import CONTEXTS, OrderFlow
from orderflow.spec.rules import check
from orderflow.spec.status import Status
from orderflow_operator.carrying import carried
from orderflow_operator.commands import command_of, handling
from orderflow_operator.conditions import Standing
from orderflow_operator.facts import Child
from orderflow_operator.manifest import Manifest, Owner
from orderflow_operator.names import api_name, processor_name
from orderflow_operator.observing import Groups, Known, deployment_of, known_revisions, processors_seen, unscheduled
from orderflow_operator.problems import (
    Problem,
    failed_migrations,
    failing_pods,
    invalid,
    lost_revisions,
    unknown_credentials,
    unknown_sources,
)
from orderflow_operator.revisions import Copy, Digests, Revision, Source, references, release_of, revision_of, unknown
from orderflow_operator.rollout.decide import decide
from orderflow_operator.rollout.model import (
    Action,
    LettersSeen,
    LoadSeen,
    LookAgain,
    Measurement,
    Observation,
    ProcessorSeen,
    Rollout,
    Say,
    Wanted,
    WantedProcessor,
)
from orderflow_operator.seen import Named
from orderflow_operator.telling import memory_of, status_of


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a resource.

    Attributes:
        body: the resource as the API server has it.
        image: what runs where the resource names none.
        credentials: whether the Secret with the database's credentials exists.
        topics: whether the topics are as they are to be; ``None`` while nobody has looked.
        topics_problem: why they are not.
        measurements: by context and gate, the last one.
        outside: the pods that say that they are out of their group, and are to be.
        letters: by context, what is known of the target's dead letters.
        rates: by context, messages recorded per second.
        offered: the kinds of Prometheus' operator that the cluster has.
    """

    body: Manifest
    children: Mapping[Named, Child]
    digests: Digests
    image: str
    now: float
    credentials: bool = True
    groups: Groups = {}
    topics: bool | None = None
    topics_problem: Problem | None = None
    measurements: Mapping[str, Mapping[str, Measurement]] = {}
    outside: frozenset[str] = frozenset()
    letters: Mapping[str, LettersSeen] = {}
    rates: Mapping[str, float] = {}
    offered: frozenset[str] = frozenset()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be so, in the order in which it is done: the status first, for it is the memory.

    Attributes:
        objects: to be applied, in this order; ``None`` where everything is to be left as it is.
        copies: of ConfigMaps and Secrets; they come before ``objects``.
        unwanted: to be deleted.
        actions: what the rollout asks for besides.
        nudges: by pod, the share that it has to be told of.
        again: seconds after which to look again.
    """

    status: Status
    objects: tuple[Manifest, ...] | None = None
    copies: tuple[Copy, ...] = ()
    unwanted: tuple[Named, ...] = ()
    actions: tuple[Action, ...] = ()
    nudges: dict[str, str] = {}
    again: float | None = None


def owner_of(body: Manifest) -> Owner:
    """Return the resource as what its objects belong to."""
    metadata = body["metadata"]
    return Owner(name=metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])


def resource_of(body: Manifest) -> OrderFlow:
    """Return the resource as typed data.

    Raises:
        SpecError: it says what cannot be.
    """
    try:
        resource = msgspec.convert({key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")}, OrderFlow)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).rpartition(" - at `$.")
        raise SpecError(reason or str(error), field=at.rstrip("`")) from None
    check(resource)
    return resource


def reconcile(looked: Looked) -> Outcome:
    """Return what is to be so."""
    before = status_before(looked.body)
    try:
        rollout = memory_of(before)
        resource = resource_of(looked.body)
    except SpecError as error:
        return _left(looked, before, invalid(error.field, error.reason))
    if resource.spec.suspend:
        return _suspended(looked, before, rollout, resource)
    return _Turn(looked, before, rollout, resource).outcome()


def status_before(body: Manifest) -> Status:
    """Return the status as it stands; an empty one where there is none."""
    try:
        return msgspec.convert(body.get("status") or {}, Status)
    except msgspec.ValidationError:
        return Status(rollout=(body.get("status") or {}).get("rollout") or {})


def _left(looked: Looked, before: Status, *problems: Problem) -> Outcome:
    """Return that everything is left as it is, and why."""
    metadata = looked.body["metadata"]
    standing = Standing(
        generation=metadata["generation"],
        now=looked.now,
        release="",
        rollout=Rollout(),
        problems=problems,
    )
    told = status_of(standing, {}, {}, 1, before)
    kept = {name: getattr(before, name) for name in ("phase", "processors", "rollout", "history", "last_rollback")}
    return Outcome(status=msgspec.structs.replace(told, **kept))


def _suspended(looked: Looked, before: Status, rollout: Rollout, resource: OrderFlow) -> Outcome:
    metadata = looked.body["metadata"]
    seen = processors_seen(metadata["name"], looked.children, looked.groups, rollout)
    standing = Standing(
        generation=metadata["generation"],
        now=looked.now,
        release=before.revision,
        rollout=rollout,
        topics=looked.topics,
        suspended=True,
    )
    return Outcome(status=status_of(standing, seen, looked.groups, resource.spec.broker.partitions, before))


class _Turn:
    """One look at a resource that says what can be."""

    def __init__(self, looked: Looked, before: Status, rollout: Rollout, resource: OrderFlow) -> None:
        self._looked = looked
        self._before = before
        self._rollout = rollout
        self._resource = resource
        self._owner = owner_of(looked.body)
        self._annotations = looked.body["metadata"].get("annotations", {})
        self._fresh = self._revisions()
        self._known: Known = known_revisions(looked.children, (self._fresh or {}).values())

    def outcome(self) -> Outcome:
        """Decide, and say what follows."""
        if self._fresh is None and not (self._rollout.stable or self._rollout.target):
            return _left(self._looked, self._before, *self._unknown())
        seen = self._seen()
        command = command_of(self._annotations, self._before.handled)
        observation = Observation(now=self._looked.now, processors=seen, command=command)
        wanted = self._wanted()
        rollout, actions = decide(self._rollout, wanted, observation)
        carrying = carried(
            self._owner,
            self._resource,
            rollout,
            actions,
            self._looked.children,
            self._known,
            self._before.prepared,
            self._looked.offered,
            has_topics=self._looked.topics is True,
        )
        problems = (
            *self._unknown(),
            *([self._looked.topics_problem] if self._looked.topics_problem is not None else ()),
            *failed_migrations(carrying.failed),
            *lost_revisions(carrying.missing),
            *failing_pods(self._looked.children),
        )
        standing = self._standing(rollout, wanted.release, problems)
        status = status_of(standing, seen, self._looked.groups, self._resource.spec.broker.partitions, self._before)
        return Outcome(
            status=msgspec.structs.replace(
                status,
                handled=handling(self._before.handled, self._annotations, command),
                prepared=carrying.prepared,
            ),
            objects=carrying.objects,
            copies=carrying.copies,
            # What runs without a record cannot be made anew: nothing is cleared away until somebody has seen to it.
            unwanted=() if carrying.missing else self._unwanted(carrying.objects, carrying.copies),
            actions=tuple(one for one in actions if not isinstance(one, LookAgain)),
            nudges=carrying.nudges,
            again=min((one.seconds for one in actions if isinstance(one, LookAgain)), default=None),
        )

    def _revisions(self) -> dict[str, Revision] | None:
        """Return what the resource asks for now, by context; nothing if what it refers to is not there."""
        if tuple(self._unknown()):
            return None
        resource, looked = self._resource, self._looked
        return {
            context: revision_of(resource, self._owner.namespace, context, looked.image, looked.digests)
            for context in CONTEXTS
        }

    def _unknown(self) -> Iterable[Problem]:
        yield from unknown_sources(unknown(self._resource, self._looked.digests))
        credentials = self._resource.spec.database.credentials
        if credentials is not None and not self._looked.credentials:
            yield unknown_credentials(credentials.name)

    def _wanted(self) -> Wanted:
        """Return what the resource wants: where that cannot be had, what is on its way or runs already."""
        spec, rollout = self._resource.spec, self._rollout
        if self._fresh is not None:
            names = {context: revision.name for context, revision in self._fresh.items()}
            release = release_of(names)
        else:
            names = {name: one.target or one.stable for name, one in rollout.processors.items()}
            release = rollout.target or rollout.stable
        return Wanted(
            release=release,
            processors={context: self._wanted_processor(context, name) for context, name in names.items()},
            partitions=spec.broker.partitions,
            paused=spec.paused,
            progress_deadline_seconds=spec.progress_deadline_seconds,
            revision_history_limit=spec.revision_history_limit,
        )

    def _wanted_processor(self, context: str, revision: str) -> WantedProcessor:
        processor = self._resource.spec.processors.of(context)
        wanted = WantedProcessor(
            revision=revision,
            replicas=processor.replicas,
            depends_on=processor.depends_on,
            gates=processor.gates,
            autoscaling=processor.autoscaling,
        )
        return wanted if processor.strategy is None else msgspec.structs.replace(wanted, strategy=processor.strategy)

    def _seen(self) -> dict[str, ProcessorSeen]:
        looked = self._looked
        seen = processors_seen(self._owner.name, looked.children, looked.groups, self._rollout, looked.outside)
        return {
            context: msgspec.structs.replace(
                one,
                measurements=dict(looked.measurements.get(context, {})),
                letters=looked.letters.get(context),
                load=self._load(context),
            )
            for context, one in seen.items()
        }

    def _load(self, context: str) -> LoadSeen | None:
        group, rate = self._looked.groups.get(context), self._looked.rates.get(context)
        if group is None or group.lag is None or rate is None:
            return None
        return LoadSeen(at=self._looked.now, lag=group.lag, rate=rate)

    def _standing(self, rollout: Rollout, release: str, problems: tuple[Problem, ...]) -> Standing:
        return Standing(
            generation=self._looked.body["metadata"]["generation"],
            now=self._looked.now,
            release=release,
            rollout=rollout,
            problems=problems,
            topics=self._looked.topics,
            topics_problem=trouble.message if (trouble := self._looked.topics_problem) is not None else "",
            waiting=self._waiting(rollout),
            paused=self._resource.spec.paused,
        )

    def _waiting(self, rollout: Rollout) -> str:
        """Return what is not ready, as a sentence; empty if everything is."""
        expected: dict[str, int] = {}
        for context, processor in rollout.processors.items():
            for revision, asked in processor.asked.items():
                if revision == processor.stable:
                    expected[processor_name(self._owner.name, context, revision)] = asked.replicas
            replicas = self._resource.spec.gateway.replicas if context == "order" else 1
            expected[api_name(self._owner.name, context)] = replicas
        late = [name for name, replicas in expected.items() if not self._is_ready(name, replicas)]
        if not late:
            return ""
        why = unscheduled(self._looked.children)
        return f"waiting for {', '.join(late)}" + (f" ({why})" if why else "")

    def _is_ready(self, name: str, replicas: int) -> bool:
        facts = deployment_of(self._looked.children, name)
        return facts is not None and facts.current and facts.ready >= replicas and facts.updated >= replicas

    def _unwanted(self, objects: tuple[Manifest, ...], copies: tuple[Copy, ...]) -> tuple[Named, ...]:
        """Return what is the resource's and of no more use. Pods go with what made them."""
        wanted = {Named(one["kind"], one["metadata"]["name"]) for one in objects}
        wanted |= {Named(copy.kind, copy.name_in(self._owner.name)) for copy in copies}
        mine = (named for named, child in self._looked.children.items() if child.owner == self._owner.uid)
        return tuple(sorted(named for named in mine if named.kind != "Pod" and named not in wanted))


def sources_of(resource: OrderFlow) -> tuple[Source, ...]:
    """Return everything that a change of concerns the resource: also its credentials' coming and going."""
    found = list(references(resource))
    if resource.spec.database.credentials is not None:
        found.append(Source("Secret", resource.spec.database.credentials.name))
    return tuple(found)


def said(outcome: Outcome) -> tuple[Say, ...]:
    """Return what happened just now."""
    return tuple(one for one in outcome.actions if isinstance(one, Say))
