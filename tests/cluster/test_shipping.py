"""From nothing to an order that is completed, and back to nothing: the chart, an example, and everything's end.

The tests of this module are one story, in the order in which they stand.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kubectl import Kubectl
from cluster.running import Cluster
from cluster.shop import READY_WITHIN, RELEASE, Gateway, Outside, example, install_operator, running_outside, secret
from harness.broker import topic_names
from harness.system import eventually

NAMESPACE = "shop"
OPERATORS = "operators"
NAME = "order-to-delivery"
CRD = "customresourcedefinition/orderflows.orderflow.dev"


@pytest.fixture(scope="module")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """A broker and a database server that the cluster's pods can reach."""
    with running_outside(cluster, tmp_path_factory.mktemp("outside")) as running:
        running.create_databases("shop")
        yield running


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, images: dict[str, Path], outside: Outside) -> Kubectl:
    """The cluster with its images and a namespace for the shop."""
    for archive in images.values():
        cluster.load(archive)
    kubectl = cluster.kubectl
    kubectl("create", "namespace", NAMESPACE)
    kubectl.apply(secret(), namespace=NAMESPACE)
    return kubectl


def _owned(kubectl: Kubectl) -> set[str]:
    """Return the names of everything in the shop's namespace that the operator has made."""
    kinds = "deployments,replicasets,pods,services,configmaps,serviceaccounts,jobs,secrets,controllerrevisions,"
    kinds += "poddisruptionbudgets.policy,networkpolicies.networking.k8s.io"
    found = kubectl.all(kinds, f"--namespace={NAMESPACE}", "--selector=app.kubernetes.io/name=orderflow")
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


def test_the_chart_installs_an_operator_that_becomes_ready(kubectl: Kubectl) -> None:
    install_operator(kubectl, OPERATORS, f"namespaces={{{NAMESPACE}}}", f"test.namespace={NAMESPACE}")
    (pod,) = kubectl.all("pods", f"--namespace={OPERATORS}")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_an_example_becomes_ready(kubectl: Kubectl, outside: Outside) -> None:
    kubectl.apply(example(NAME, outside, "shop"), namespace=NAMESPACE)
    wait = ("wait", "--for=condition=Ready", f"orderflow/{NAME}", f"--namespace={NAMESPACE}")
    kubectl(*wait, f"--timeout={READY_WITHIN}s")
    status = kubectl.get("orderflow", NAME, NAMESPACE)["status"]
    assert status["observedGeneration"] == 1
    for pod in kubectl.all("pods", f"--namespace={NAMESPACE}", "--field-selector=status.phase=Running"):
        assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0], pod["metadata"]["name"]


def test_an_order_that_is_placed_at_the_gateway_is_completed(kubectl: Kubectl) -> None:
    gateway = Gateway(kubectl, NAME, NAMESPACE)
    assert gateway.end_of(gateway.place("sku-1")) == "Completed"


def test_helm_s_own_test_places_an_order_from_inside(kubectl: Kubectl) -> None:
    kubectl.helm("test", RELEASE, f"--namespace={OPERATORS}", "--timeout=120s")


def test_a_deleted_resource_leaves_its_topics_and_nothing_else_in_the_cluster(
    kubectl: Kubectl, outside: Outside
) -> None:
    assert _owned(kubectl)
    kubectl("delete", "orderflow", NAME, f"--namespace={NAMESPACE}", "--timeout=60s")
    kubectl("wait", "--for=delete", "pods", "--all", f"--namespace={NAMESPACE}", "--timeout=90s")
    left = {one for one in _owned(kubectl) if not one.startswith("ControllerRevision/")}
    assert left == set()
    assert "shop-order-events" in topic_names(outside.broker)


def test_an_uninstalled_chart_leaves_the_definition_and_nothing_else(kubectl: Kubectl) -> None:
    kubectl.helm("uninstall", RELEASE, f"--namespace={OPERATORS}", "--wait", "--timeout=60s")
    # Helm waits for the Deployment; its pod still says goodbye.
    kubectl("wait", "--for=delete", "pods", "--all", f"--namespace={OPERATORS}", "--timeout=60s")
    kinds = "all,serviceaccounts,configmaps,secrets,leases,roles,rolebindings"

    def left() -> set[str]:
        found = kubectl.all(kinds, f"--namespace={OPERATORS}")
        return {one["metadata"]["name"] for one in found} - {"default", "kube-root-ca.crt"}

    # The lease goes with the pod that held it, by the garbage collector's hand.
    eventually(lambda: not left(), "nothing is left")
    assert not kubectl.all("clusterroles,clusterrolebindings", f"--selector=app.kubernetes.io/instance={RELEASE}")
    assert kubectl("get", CRD)
