"""One look after another, over a cluster that does at once what it is told."""

import json
from typing import Any

import msgspec

from orderflow.spec.resource import CONTEXTS
from orderflow.spec.status import Condition
from orderflow_operator.names import COMPONENT, CONTEXT, INSTANCE, MANAGED_BY, MANAGER, REVISION
from orderflow_operator.observing import Group, Member
from orderflow_operator.plan.pods import SHARE_FILE
from orderflow_operator.reconcile import Looked, Outcome, reconcile
from orderflow_operator.rollout.model import Say
from orderflow_operator.seen import Key, Named, Seen

SHOP = Key("here", "shop")
PARTITIONS = 4
NO_FAULT = {"compared": 1, "fault": "", "declaration": {"reads": ["a"], "writes": ["a"], "topology": "t"}}


class Cluster:
    """A cluster in memory, as far as a resource and its objects go."""

    def __init__(self, **spec: Any) -> None:
        self.now = 1_000_000.0
        self.spec: dict[str, Any] = {
            "broker": {"address": "kafka:9092", "partitions": PARTITIONS},
            "database": {"url": "postgresql://me@db/orderflow_{context}"},
            **spec,
        }
        self.generation = 1
        self.status: dict[str, Any] = {}
        self.annotations: dict[str, str] = {}
        self.seen = Seen()
        self.shares: dict[str, str] = {}
        self.fault = ""
        self.topics: bool | None = True
        self.said: list[str] = []

    def apply(self, **changes: Any) -> None:
        self.spec |= changes
        self.generation += 1

    def look(self) -> Outcome:
        self.now += 1
        children = self.seen.children(SHOP)
        body = {
            "apiVersion": "orderflow.dev/v1alpha1",
            "kind": "OrderFlow",
            "metadata": {
                "name": "shop",
                "namespace": "here",
                "uid": "u",
                "generation": self.generation,
                "annotations": self.annotations,
            },
            "spec": self.spec,
            "status": self.status,
        }
        outcome = reconcile(
            Looked(
                body=body,
                children=children,
                digests={},
                image="orderflow:1",
                now=self.now,
                groups=self._groups(),
                topics=self.topics,
                outside=frozenset(name for name in self._pods() if self._share(name) == 0),
            )
        )
        self.status = msgspec.to_builtins(outcome.status)
        self.said += [one.reason for one in outcome.actions if isinstance(one, Say)]
        self._do(outcome)
        return outcome

    def until(self, phase: str, looks: int = 400) -> Outcome:
        for _ in range(looks):
            outcome = self.look()
            if outcome.status.phase == phase and outcome.status.observed_generation == self.generation:
                return outcome
        raise AssertionError(f"never {phase}: {outcome.status.phase}: {outcome.status.message}")

    def condition(self, kind: str) -> Condition:
        found = {one["type"]: one for one in self.status["conditions"]}
        return msgspec.convert(found[kind], Condition)

    def names(self, kind: str) -> set[str]:
        return {named.name for named in self.seen.children(SHOP) if named.kind == kind}

    def _do(self, outcome: Outcome) -> None:
        for manifest in outcome.objects or ():
            self._put(manifest)
        for named in outcome.unwanted:
            self.seen.drop(named.kind, _object(named.name, {}))
            for pod in self._pods_of(named):
                self.seen.drop("Pod", _object(pod, {}))

    def _put(self, manifest: dict[str, Any]) -> None:
        kind, metadata = manifest["kind"], manifest["metadata"]
        body = {**manifest, "metadata": {**metadata, "generation": 1}}
        if kind == "ConfigMap" and SHARE_FILE in manifest["data"]:
            self.shares[metadata["name"].removesuffix("-share")] = manifest["data"][SHARE_FILE]
        if kind == "Deployment":
            replicas = manifest["spec"]["replicas"]
            ready = {"readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": 1}
            body["status"] = ready
            self._run(manifest, replicas)
        if kind == "Job":
            body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
            self._run(manifest, 1)
        self.seen.put(kind, body)

    def _run(self, manifest: dict[str, Any], replicas: int) -> None:
        name, labels = manifest["metadata"]["name"], manifest["spec"]["template"]["metadata"]["labels"]
        for number in range(9):
            pod = f"{name}-{number}"
            if number < replicas:
                self.seen.put("Pod", self._pod(pod, labels))
            else:
                self.seen.drop("Pod", _object(pod, labels))

    def _pod(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        ended = {"exitCode": 0, "message": "", "finishedAt": "1970-01-12T13:46:40Z"}
        if labels[COMPONENT].endswith("-shadow"):
            ended |= {"message": json.dumps(NO_FAULT | {"fault": self.fault}), "finishedAt": _moment(self.now + 1)}
        state = {"terminated": ended} if labels[COMPONENT].endswith(("-shadow", "-migrate")) else {}
        conditions = [{"type": "Ready", "status": "True"}]
        return _object(name, labels, status={"conditions": conditions, "containerStatuses": [{"state": state}]})

    def _pods(self) -> list[str]:
        return [named.name for named in self.seen.children(SHOP) if named.kind == "Pod"]

    def _pods_of(self, named: Named) -> list[str]:
        return [pod for pod in self._pods() if pod.rpartition("-")[0] == named.name]

    def _share(self, pod: str) -> int | None:
        text = self.shares.get(pod.rpartition("-")[0], "all")
        return None if text == "all" else int(text)

    def _groups(self) -> dict[str, Group]:
        """Return what a broker would give everybody: limited revisions exactly their share, the rest to the others."""
        groups = {}
        for context in CONTEXTS:
            pods = sorted(pod for pod in self._pods() if pod.startswith(f"shop-{context}-") and "migrate" not in pod)
            pods = [pod for pod in pods if "shadow" not in pod and "-api-" not in pod and self._share(pod) != 0]
            limited = [pod for pod in pods if self._share(pod) is not None]
            free = [pod for pod in pods if self._share(pod) is None]
            share = min(PARTITIONS, self._share(limited[0]) or 0) if limited else 0
            groups[context] = Group(members=(*_even(limited, share), *_even(free, PARTITIONS - share)), lag=0)
        return groups


def _even(pods: list[str], partitions: int) -> tuple[Member, ...]:
    each, odd = divmod(partitions, len(pods)) if pods else (0, 0)
    return tuple(Member(pod=pod, partitions=each + (place < odd)) for place, pod in enumerate(pods))


def _object(name: str, labels: dict[str, str], **content: Any) -> dict[str, Any]:
    own = {INSTANCE: "shop", MANAGED_BY: MANAGER, **labels}
    return {"metadata": {"name": name, "namespace": "here", "labels": own}, **content}


def _moment(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_first_release_is_prepared_then_run_then_served() -> None:
    cluster = Cluster()
    first = cluster.look()
    assert {one["kind"] for one in first.objects or ()} & {"Job", "Deployment"} == {"Job"}
    assert cluster.condition("Ready").status == "False"
    cluster.until("Stable")
    cluster.look()
    assert cluster.condition("Ready").status == "True"
    assert len(cluster.names("Deployment")) == 2 * len(CONTEXTS)
    assert not cluster.names("Job")
    assert cluster.said == ["Installing", "Installed"]


def test_no_processor_starts_before_there_are_topics() -> None:
    cluster = Cluster()
    cluster.topics = False
    for _ in range(5):
        cluster.look()
    assert not {name for name in cluster.names("Deployment") if not name.endswith(("-api", "-gateway"))}
    cluster.topics = True
    cluster.until("Stable")


def test_a_new_image_goes_through_the_shadow_and_its_steps_and_the_old_one_goes() -> None:
    cluster = Cluster(processors={"payment": {"strategy": {"canary": {"steps": [{"setWeight": 50}]}}}})
    cluster.until("Stable")
    before = cluster.names("Deployment")
    payment = {"image": "orderflow:2", "strategy": {"canary": {"steps": [{"setWeight": 50}]}}}
    cluster.apply(processors={"payment": payment})
    shares = set()
    for _ in range(200):
        outcome = cluster.look()
        shares.add(outcome.status.processors["payment"].canary.partitions)
        if outcome.status.phase == "Stable":
            break
    cluster.look()
    assert shares >= {0, 2}
    assert cluster.condition("Ready").status == "True"
    (new,) = cluster.names("Deployment") - before
    (old,) = before - cluster.names("Deployment")
    assert new.startswith("shop-payment-")
    assert old.startswith("shop-payment-")
    assert "Promoted" in cluster.said
    assert len(outcome.status.history) == 2


def test_a_release_that_decides_otherwise_is_taken_back_before_it_takes_a_message() -> None:
    cluster = Cluster()
    cluster.until("Stable")
    before = cluster.names("Deployment")
    cluster.fault = "1 of 1 recorded decisions: OrderCreated differs"
    cluster.apply(image="orderflow:2")
    cluster.until("Stable")
    assert cluster.condition("RolledBack").status == "True"
    assert cluster.condition("Ready").reason == "RolledBack"
    assert cluster.status["lastRollback"]["reason"] == "ShadowDiffers"
    assert cluster.names("Deployment") == before

    cluster.fault = ""
    cluster.annotations["orderflow.dev/retry"] = "1"
    cluster.look()
    assert "RolloutStarted" in cluster.said[-2:]


def test_a_restarted_operator_decides_what_the_first_would_have() -> None:
    one, other = Cluster(), Cluster()
    for cluster in (one, other):
        cluster.until("Stable")
        cluster.apply(image="orderflow:2")
    for _ in range(30):
        first = one.look()
        # Nothing but the cluster is left of the operator that wrote this.
        other.status = json.loads(json.dumps(other.status))
        second = other.look()
        assert first.status == second.status
        assert first.objects == second.objects


def test_what_cannot_be_is_said_and_everything_left_as_it_is() -> None:
    cluster = Cluster()
    cluster.until("Stable")
    before = cluster.status["rollout"]
    cluster.apply(defaultFlow="nonsense")
    outcome = cluster.look()
    assert outcome.objects is None
    assert cluster.condition("Stalled").reason == "InvalidSpec"
    assert cluster.condition("Ready").observed_generation == cluster.generation
    assert cluster.status["rollout"] == before


def test_a_memory_of_another_version_is_never_guessed_at() -> None:
    cluster = Cluster()
    cluster.until("Stable")
    cluster.status["rollout"]["processors"] = "?"
    outcome = cluster.look()
    assert outcome.objects is None
    assert "status.rollout: written by another version" in cluster.condition("Stalled").message
    assert cluster.status["rollout"]["processors"] == "?"


def test_suspended_nothing_is_applied_and_the_conditions_say_so() -> None:
    cluster = Cluster()
    cluster.until("Stable")
    cluster.apply(suspend=True, image="orderflow:2")
    outcome = cluster.look()
    assert outcome.objects is None
    assert cluster.condition("Paused").reason == "Suspended"


def test_labels_of_pods_say_whose_they_are() -> None:
    cluster = Cluster()
    cluster.until("Stable")
    outcome = cluster.look()
    for manifest in outcome.objects or ():
        if manifest["kind"] == "Deployment":
            labels = manifest["spec"]["template"]["metadata"]["labels"]
            assert manifest["spec"]["selector"]["matchLabels"].items() <= labels.items()
            assert {INSTANCE, COMPONENT, CONTEXT, REVISION} <= labels.keys()
