"""The shell around :mod:`.reconcile`: asks what there is, writes down what is decided, and then makes it so.

The status goes first and names the version of the resource that it was decided on: if that has changed meanwhile,
nothing is done and the next look decides anew. What is applied is applied whole; what has been applied and not been
changed by anybody since is not applied again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from orderflow.spec.errors import SpecError
from orderflow.spec.resource import OrderFlow
from orderflow.spec.status import Status
from orderflow_operator.broker import BrokerAway, Brokers
from orderflow_operator.cluster import Cluster, ClusterAway, Refused
from orderflow_operator.events import event
from orderflow_operator.facts import content_of
from orderflow_operator.manifest import Manifest, owned
from orderflow_operator.metrics import Metrics
from orderflow_operator.names import CONTEXT, FINALIZER, GROUP, PARTITIONS, VERSION, labels
from orderflow_operator.observing import Group, with_processors
from orderflow_operator.pods import Pods
from orderflow_operator.problems import Problem
from orderflow_operator.reconcile import (
    Looked,
    Outcome,
    owner_of,
    reconcile,
    resource_of,
    said,
    sources_of,
    status_before,
)
from orderflow_operator.revisions import Copy, Source
from orderflow_operator.rollout.model import Say
from orderflow_operator.seen import Key, Named, Seen
from orderflow_operator.sparse import digest
from orderflow_operator.telling import differs
from orderflow_operator.topics import Topics, away, changes, problem, topics_of

log = structlog.get_logger(__name__)

API: Final = f"{GROUP}/{VERSION}"
UNCHANGEABLE: Final = frozenset({"ControllerRevision", "Job"})
"""Kinds whose content the API server never lets change: they are there or not."""

API_VERSIONS: Final = {
    "Deployment": "apps/v1",
    "ControllerRevision": "apps/v1",
    "Job": "batch/v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
}
"""Of everything that a resource may consist of."""

TOPICS_EVERY: Final = 300.0
"""Seconds between two looks at topics that were as they are to be."""
INSTALLING_MOST: Final = 15.0
"""Seconds between two looks at a first release that does not get on."""
AT_REST: Final = 300.0
"""Seconds between two looks at a resource at which nothing happens: every change is told by a watch."""


class _Topics(msgspec.Struct, frozen=True):
    wanted: str
    at: float
    problem: Problem | None


class Reconciler:
    """Looks at resources, one at a time for each."""

    def __init__(
        self,
        cluster: Cluster,
        seen: Seen,
        brokers: Brokers,
        metrics: Metrics,
        *,
        image: str,
        may_write: Callable[[], bool],
        offered: frozenset[str] = frozenset(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._seen = seen
        self._brokers = brokers
        self._metrics = metrics
        self._image = image
        self._may_write = may_write
        self._offered = offered
        self._now = now
        self._applied: dict[Key, dict[Named, tuple[str, str]]] = {}
        self._topics: dict[Key, _Topics] = {}
        self._pods = Pods(now)
        self._quiet: dict[Key, int] = {}

    async def aclose(self) -> None:
        """Let go of all connections."""
        await self._pods.close()

    async def look(self, key: Key) -> float | None:
        """Look at a resource and make everything so; return the seconds after which to look again, if at all.

        Raises:
            ClusterError: the API server is away or refused something; what was not done is done at the next look.
        """
        self._assert_may_write()
        body = self._seen.resources.get(key)
        if body is None:
            self._forget(key)
            return None
        if "deletionTimestamp" in body["metadata"]:
            await self._clean_up(key, body)
            return None
        began = self._now()
        body = await self._with_finalizer(key, body)
        looked = await self._looked(key, body)
        outcome = reconcile(looked)
        before = status_before(body)
        if changed := differs(before, outcome.status):
            await self._write_status(key, body, outcome.status)
        await self._tell(body, before, outcome)
        await self._make_so(key, body, outcome)
        await self._pods.measure(key, looked, outcome)
        self._count(key, outcome, began)
        self._quiet[key] = 0 if changed else self._quiet.get(key, 0) + 1
        return self._again(key, looked, outcome)

    def _assert_may_write(self) -> None:
        if not self._may_write():
            raise ClusterAway("the lease is not held: nothing is written")

    # What there is

    async def _looked(self, key: Key, body: Manifest) -> Looked:
        looked = Looked(
            body=body, children=self._seen.children(key), digests={}, image=self._image, now=self._now(),
            offered=self._offered,
        )  # fmt: skip
        try:
            resource = resource_of(body)
        except SpecError:
            return looked
        sources = sources_of(resource)
        self._seen.refer(key, sources)
        digests = self._seen.digests(key.namespace, sources)
        looked = msgspec.structs.replace(looked, digests=digests, credentials=_has_credentials(resource, digests))
        if resource.spec.suspend or resource.spec.broker.address is None:
            return looked
        trouble = await self._topics_problem(key, resource)
        groups = {} if trouble is not None else await self._groups(resource, with_processors(looked.children))
        told = await self._pods.look(key, looked)
        return msgspec.structs.replace(
            looked,
            topics=trouble is None,
            topics_problem=trouble,
            groups=groups,
            outside=told.outside,
            letters=told.letters,
            rates=told.rates,
            measurements=self._pods.measurements(key),
            now=self._now(),
        )

    async def _topics_problem(self, key: Key, resource: OrderFlow) -> Problem | None:
        """See to it that the topics are as they are to be; return what keeps them from it."""
        topics, address = topics_of(resource), resource.spec.broker.address or ""
        wanted, known = digest([address, topics]), self._topics.get(key)
        fresh = known is not None and known.wanted == wanted and self._now() - known.at < TOPICS_EVERY
        if known is not None and fresh and known.problem is None:
            return None
        trouble = await self._see_to_topics(address, topics)
        self._topics[key] = _Topics(wanted, self._now(), trouble)
        return trouble

    async def _see_to_topics(self, address: str, topics: Topics) -> Problem | None:
        try:
            found = await self._brokers.found(address, topics)
            trouble = problem(topics, found)
            if trouble is None and (needed := changes(topics, found)):
                await self._brokers.change(address, needed)
        except BrokerAway as error:
            return away(address, str(error))
        return trouble

    async def _groups(self, resource: OrderFlow, contexts: Sequence[str]) -> dict[str, Group]:
        broker = resource.spec.broker
        prefix, address = broker.topic_prefix, broker.address or ""
        asked = (self._brokers.group(address, f"{prefix}{one}", f"{prefix}{one}-commands") for one in contexts)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[str, Group] = {}
        unseen: dict[str, str] = {}
        for context, answer in zip(contexts, answers, strict=True):
            if isinstance(answer, BrokerAway):
                unseen[context] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[context] = answer
        if unseen:
            log.warning("groups cannot be seen", name=resource.metadata.name, **unseen)
        return found

    # What is to be so

    async def _write_status(self, key: Key, body: Manifest, status: Status) -> None:
        metadata = {name: body["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
        manifest = {"apiVersion": API, "kind": "OrderFlow", "metadata": metadata}
        written = await self._cluster.apply({**manifest, "status": msgspec.to_builtins(status)}, "status")
        self._seen.put("OrderFlow", written)

    async def _make_so(self, key: Key, body: Manifest, outcome: Outcome) -> None:
        if outcome.objects is None:
            return
        for copy in outcome.copies:
            await self._copy(key, body, copy)
        for manifest in outcome.objects:
            await self._apply(key, manifest)
        for pod, share in outcome.nudges.items():
            await self._cluster.merge(
                "v1", "Pod", key.namespace, pod, {"metadata": {"annotations": {PARTITIONS: share}}}
            )
        for named in outcome.unwanted:
            await self._cluster.delete(API_VERSIONS[named.kind], named.kind, key.namespace, named.name)

    async def _apply(self, key: Key, manifest: Manifest) -> None:
        named = Named(manifest["kind"], manifest["metadata"]["name"])
        child, content = self._seen.children(key).get(named), digest(manifest)
        applied = self._applied.setdefault(key, {})
        if child is not None and (named.kind in UNCHANGEABLE or applied.get(named) == (content, child.ours)):
            return
        self._assert_may_write()
        self._seen.put(named.kind, await self._cluster.apply(manifest))
        applied[named] = (content, self._seen.children(key)[named].ours)

    async def _copy(self, key: Key, body: Manifest, copy: Copy) -> None:
        """Keep what a ConfigMap or Secret holds now. If that is no longer what was seen, the next look knows."""
        owner = owner_of(body)
        if Named(copy.kind, copy.name_in(owner.name)) in self._seen.children(key):
            return
        live = await self._cluster.get("v1", copy.kind, key.namespace, copy.name)
        if live is None or content_of(live) != copy.digest:
            log.info("changed meanwhile", kind=copy.kind, name=copy.name, namespace=key.namespace)
            return
        own = {**labels(owner.name, "env"), CONTEXT: "all"}
        content = {name: live[name] for name in ("data", "binaryData", "type") if name in live}
        manifest = owned(owner, "v1", copy.kind, copy.name_in(owner.name), own, immutable=True, **content)
        self._seen.put(copy.kind, await self._cluster.apply(manifest))

    # The end

    async def _with_finalizer(self, key: Key, body: Manifest) -> Manifest:
        """Put the finalizer on where topics go with the resource, and take it off where they stay."""
        wanted = body["spec"].get("deletionPolicy") == "Delete"
        if wanted == (FINALIZER in body["metadata"].get("finalizers", ())):
            return body
        return await self._finalize(key, body, [FINALIZER] if wanted else [])

    async def _finalize(self, key: Key, body: Manifest, finalizers: list[str]) -> Manifest:
        metadata = {"name": key.name, "namespace": key.namespace, "finalizers": finalizers}
        changed = await self._cluster.apply({"apiVersion": API, "kind": "OrderFlow", "metadata": metadata})
        self._seen.put("OrderFlow", changed)
        return changed

    async def _clean_up(self, key: Key, body: Manifest) -> None:
        """Delete the topics, if that was asked for; whatever becomes of it, the resource may go."""
        if FINALIZER not in body["metadata"].get("finalizers", ()):
            return
        try:
            resource = resource_of(body)
            address = resource.spec.broker.address or ""
            await self._brokers.delete(address, topics_of(resource).names)
            told = Say(reason="TopicsDeleted", message=f"the topics at {address} are deleted")
        except (BrokerAway, SpecError) as error:
            message = f"the topics are left behind: {error}. Delete them by hand if nothing else uses them"
            told = Say(reason="TopicsLeft", message=message, warning=True)
        await self._say(body, told)
        await self._finalize(key, body, [])

    def _forget(self, key: Key) -> None:
        self._seen.forget(key)
        self._applied.pop(key, None)
        self._topics.pop(key, None)
        self._pods.forget(key)
        self._quiet.pop(key, None)

    # What is said

    async def _tell(self, body: Manifest, before: Status, outcome: Outcome) -> None:
        for say in said(outcome):
            await self._say(body, say)
        stalled = {one.type: one for one in outcome.status.conditions}["Stalled"]
        known = {one.type: one for one in before.conditions}.get("Stalled")
        if stalled.status == "True" and (known is None or known.reason != stalled.reason):
            await self._say(body, Say(reason=stalled.reason, message=stalled.message, warning=True))

    async def _say(self, body: Manifest, say: Say) -> None:
        log.info("said", reason=say.reason, message=say.message, name=body["metadata"]["name"])
        try:
            await self._cluster.create(event(body, say, self._now()))
        except Refused as refused:
            log.warning("an event was refused", reason=str(refused))

    def _count(self, key: Key, outcome: Outcome, began: float) -> None:
        for say in said(outcome):
            if say.reason == "RolledBack":
                self._metrics.detection.observe(max(0.0, self._now() - began))
            if say.reason in {"RolledBack", "Promoted", "Installed", "Superseded"}:
                self._metrics.rollouts.labels(key.namespace, key.name, say.reason).inc()

    def _again(self, key: Key, looked: Looked, outcome: Outcome) -> float | None:
        if outcome.objects is None:
            return None
        if looked.topics_problem is not None:
            # Somebody has to see to it; a broker that is back is noticed all the same.
            return min(30.0, outcome.again or 30.0)
        autoscaled = any(
            one.get("autoscaling")
            for one in looked.body["spec"].get("processors", {}).values()
            if isinstance(one, dict)
        )
        if outcome.status.phase == "Stable" and not autoscaled:
            return AT_REST
        if outcome.status.phase == "Installing":
            # Nothing is at stake yet, and all but the broker's part is told by a watch.
            return min(INSTALLING_MOST, (outcome.again or 1.0) * 2.0 ** min(self._quiet[key] // 5, 10))
        return outcome.again


def _has_credentials(resource: OrderFlow, digests: object) -> bool:
    credentials = resource.spec.database.credentials
    return credentials is None or Source("Secret", credentials.name) in digests  # type: ignore[operator]
