"""The operator on a real API server, with a real broker: what it makes of a resource, and what it leaves alone."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient

from cluster.kubectl import Kubectl, Refused
from harness.operated import OperatorProcess, Shop, eventually
from orderflow.spec.resource import CONTEXTS

if TYPE_CHECKING:
    from orderflow.local.broker import RunningBroker

MakeShop = Callable[..., Shop]


def test_a_resource_becomes_a_running_system(shop: MakeShop, kafka: "RunningBroker") -> None:
    made = shop(processors={"payment": {"replicas": 2}})
    made.kubectl("wait", "--for=condition=Ready", "orderflow/shop", f"--namespace={made.namespace}", "--timeout=60s")

    deployments = made.all("deployments")
    processors = [one for one in deployments if not one.endswith(("-api", "-gateway"))]
    assert sorted(name.split("-")[1] for name in processors) == sorted(CONTEXTS)
    payment = next(one for name, one in deployments.items() if name.startswith("shop-payment-") and name in processors)
    assert payment["spec"]["replicas"] == 2
    assert {f"shop-{name}" for name in ("gateway", *(f"{one}-api" for one in CONTEXTS if one != "order"))} <= (
        made.all("services").keys()
    )
    for kind, least in (("serviceaccounts", 6), ("poddisruptionbudgets", 7), ("networkpolicies", 4)):
        assert len(made.all(kind)) >= least
    assert {"Installing", "Installed"} <= made.events()
    status = made.status()
    assert status["phase"] == "Stable"
    assert status["processors"]["payment"]["stable"] == {
        "revision": status["processors"]["payment"]["revision"],
        "replicas": 2,
        "ready": 2,
        "partitions": 2,
    }
    topics = AdminClient({"bootstrap.servers": kafka.broker.address}).list_topics(timeout=10).topics
    assert len(topics[f"{made.namespace}-order-events"].partitions) == 2


def test_the_table_shows_how_it_stands(shop: MakeShop) -> None:
    made = shop()
    eventually(made.is_ready)
    head, line = made.kubectl("get", "of", f"--namespace={made.namespace}").splitlines()
    assert head.split() == ["NAME", "READY", "PHASE", "WEIGHT", "REVISION", "AGE"] or head.split() == [
        "NAME",
        "READY",
        "PHASE",
        "STEP",
        "WEIGHT",
        "REVISION",
        "AGE",
    ]
    assert line.split()[:3] == ["shop", "True", "Stable"]


def test_pods_may_do_nothing_and_write_nothing(shop: MakeShop) -> None:
    made = shop()
    eventually(made.is_ready)
    for pod in made.all("pods").values():
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["automountServiceAccountToken"] is False


def test_drift_is_mended_and_what_is_anothers_is_left_alone(shop: MakeShop) -> None:
    made = shop()
    eventually(made.is_ready)
    space = f"--namespace={made.namespace}"
    deployment = next(
        name for name in made.all("deployments") if name.startswith("shop-payment-") and "api" not in name
    )

    made.kubectl("annotate", "deployment", deployment, "somebody.else/note=kept", space)
    made.kubectl("scale", "deployment", deployment, "--replicas=0", space)
    made.kubectl("delete", "service", "shop-gateway", space)

    eventually(lambda: made.all("deployments")[deployment]["spec"]["replicas"] == 1)
    eventually(lambda: "shop-gateway" in made.all("services"))
    assert made.all("deployments")[deployment]["metadata"]["annotations"]["somebody.else/note"] == "kept"


def test_a_changed_config_map_is_a_new_revision_and_its_shadow_comes_first(shop: MakeShop, node: Any) -> None:
    same = {"compared": 3, "fault": "", "declaration": {"reads": [], "writes": [], "topology": "x"}}
    fault = "1 of 3 recorded decisions: OrderCreated differs"
    node.words = {f"{context}-shadow": json.dumps(same | {"fault": fault}) for context in CONTEXTS}
    made = shop(pods={})
    eventually(made.is_ready)
    before = made.status()
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"MODE": "new"}}
    made.kubectl.apply(settings, namespace=made.namespace)

    made.apply(pods={"envFrom": [{"configMapRef": {"name": "settings"}}]})

    eventually(lambda: made.condition("RolledBack").get("status") == "True")
    status = made.status()
    assert status["lastRollback"]["reason"] == "ShadowDiffers"
    assert fault in status["lastRollback"]["message"]
    assert status["processors"]["payment"]["revision"] == before["processors"]["payment"]["revision"]
    assert made.condition("Ready")["reason"] == "RolledBack"
    assert {"RolloutStarted", "RolledBack"} <= made.events()
    kept = [one for name, one in made.all("configmaps").items() if name.startswith("shop-env-")]
    assert not kept or kept[0]["data"] == {"MODE": "new"}


def test_a_secret_that_is_not_there_stops_nothing_that_runs(shop: MakeShop) -> None:
    made = shop()
    eventually(made.is_ready)
    deployments = made.all("deployments").keys()

    made.apply(pods={"envFrom": [{"secretRef": {"name": "keys"}}]})

    stalled = eventually(lambda: (found := made.condition("Stalled")).get("status") == "True" and found)
    assert stalled["reason"] == "UnknownSecret"
    assert "spec.pods.envFrom[0]: there is no Secret 'keys' in this namespace. Create it" in stalled["message"]
    assert made.all("deployments").keys() == deployments
    assert "UnknownSecret" in made.events()

    made.kubectl("create", "secret", "generic", "keys", "--from-literal=KEY=1", f"--namespace={made.namespace}")
    eventually(lambda: made.condition("Stalled").get("status") == "False")


def test_a_broker_that_is_away_is_a_sentence_and_no_obstacle_to_the_end(shop: MakeShop) -> None:
    made = shop(broker={"address": "127.0.0.1:9", "partitions": 2}, deletionPolicy="Delete")
    ready = eventually(lambda: (found := made.condition("TopicsReady")).get("status") == "False" and found)
    assert "no broker answers as it should at 127.0.0.1:9" in ready["message"]
    assert made.condition("Stalled")["reason"] == "BrokerUnreachable"
    made.delete()
    eventually(lambda: not made.all("deployments"))
    assert "TopicsLeft" in made.events()


def test_topics_stay_unless_their_deletion_was_asked_for(shop: MakeShop, kafka: "RunningBroker") -> None:
    kept, gone = shop(), shop(deletionPolicy="Delete")
    eventually(kept.is_ready)
    eventually(gone.is_ready)
    kept.delete()
    gone.delete()
    admin = AdminClient({"bootstrap.servers": kafka.broker.address})
    assert f"{kept.namespace}-order-events" in admin.list_topics(timeout=10).topics
    eventually(lambda: f"{gone.namespace}-order-events" not in admin.list_topics(timeout=10).topics)


def test_a_suspended_resource_is_left_as_it_is(shop: MakeShop) -> None:
    made = shop()
    eventually(made.is_ready)
    made.apply(suspend=True)
    eventually(lambda: made.condition("Paused").get("reason") == "Suspended")
    made.kubectl("delete", "service", "shop-gateway", f"--namespace={made.namespace}")
    made.kubectl("annotate", "orderflow", "shop", "note=1", f"--namespace={made.namespace}")
    made.apply(suspend=False)
    eventually(lambda: "shop-gateway" in made.all("services"))


def test_an_operator_that_was_killed_goes_on_and_changes_nothing(shop: MakeShop, operator: OperatorProcess) -> None:
    made = shop()
    eventually(made.is_ready)
    before = {name: one["metadata"]["resourceVersion"] for name, one in made.all("services").items()}
    generations = {name: one["metadata"]["generation"] for name, one in made.all("deployments").items()}
    operator.kill()
    made.kubectl("delete", "service", "shop-gateway", f"--namespace={made.namespace}")
    operator.start()
    eventually(lambda: "shop-gateway" in made.all("services"))
    after = {name: one["metadata"]["resourceVersion"] for name, one in made.all("services").items()}
    assert {**after, "shop-gateway": ""} == {**before, "shop-gateway": ""}
    assert generations == {name: one["metadata"]["generation"] for name, one in made.all("deployments").items()}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"broker": {"address": "a:1", "partitions": 3}}, "partitions cannot be changed once there are topics"),
        ({"flows": [{"name": "x", "steps": [{"name": "nonsense"}]}]}, 'Unsupported value: "nonsense"'),
        ({"processors": {"order": {"replicas": 3}}}, "processors.order.replicas: expected at most broker.partitions"),
        (
            {"processors": {"order": {"strategy": {"canary": {}, "blueGreen": {}}}}},
            "expected exactly one strategy",
        ),
    ],
)
def test_what_the_schema_can_refuse_never_comes_in(shop: MakeShop, changes: dict[str, Any], sentence: str) -> None:
    made = shop()
    with pytest.raises(Refused, match=sentence.replace("(", r"\(")):
        made.apply(**changes)
    made.delete()


def test_at_rest_the_lease_is_all_that_is_asked_for(
    shop: MakeShop, operator: OperatorProcess, kubectl: Kubectl
) -> None:
    made = shop()
    eventually(made.is_ready)

    def others() -> float:
        name = "orderflow_operator_api_requests_total"
        return operator.metric(name) - operator.metric(name, kind="Lease")

    def is_quiet() -> bool:
        """Nothing but the lease is asked for while it is renewed twice."""
        before, renewed = others(), operator.metric("orderflow_operator_api_requests_total", kind="Lease")
        eventually(lambda: operator.metric("orderflow_operator_api_requests_total", kind="Lease") >= renewed + 4)
        return others() == before

    eventually(is_quiet, within=120)
