"""The cluster that the suite starts is one: pods run, find one another by name, and are reached by Services."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.images import PROCESSORS
from cluster.kubectl import Kubectl
from cluster.running import Cluster
from harness.system import eventually

LABELS = {"app": "web"}


def _pod(name: str, *command: str) -> dict[str, object]:
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "main",
        "image": PROCESSORS,
        "command": command,
        "resources": {"limits": {"memory": "64Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
    }
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    metadata = {"name": name, "labels": LABELS if name == "web" else {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, images: dict[str, Path]) -> Iterator[Kubectl]:
    """A namespace with a web server that a Service stands before."""
    cluster.load(images["processors"])
    kubectl = cluster.kubectl
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    kubectl("create", "namespace", "acquaintance")
    kubectl.apply(_pod("web", "python", "-m", "http.server", "8080"), service, namespace="acquaintance")
    kubectl("wait", "--for=condition=Ready", "pod/web", "--namespace=acquaintance", "--timeout=60s")
    yield kubectl
    kubectl("delete", "namespace", "acquaintance", "--wait=true", "--timeout=60s")


def test_a_pod_finds_another_by_the_name_of_its_service(kubectl: Kubectl) -> None:
    fetch = (
        "import urllib.request as u; print(u.urlopen('http://web.acquaintance.svc.cluster.local', timeout=10).status)"
    )
    kubectl.apply(_pod("client", "python", "-c", fetch), namespace="acquaintance")
    kubectl(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/client", "--namespace=acquaintance", "--timeout=60s"
    )
    assert kubectl("logs", "client", "--namespace=acquaintance") == "200\n"


def test_the_machine_reaches_a_service(kubectl: Kubectl) -> None:
    address = kubectl.get("service", "web", "acquaintance")["spec"]["clusterIP"]
    with urllib.request.urlopen(f"http://{address}", timeout=10) as answer:
        assert answer.status == 200


def test_a_pod_reaches_nothing_beyond_the_machine(kubectl: Kubectl) -> None:
    look = "import socket as s; print(s.socket().connect_ex(('192.0.2.1', 80)))"
    kubectl.apply(_pod("explorer", "python", "-c", look), namespace="acquaintance")
    kubectl(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/explorer", "--namespace=acquaintance", "--timeout=60s"
    )
    assert kubectl("logs", "explorer", "--namespace=acquaintance").strip() != "0"


def test_a_container_that_takes_more_memory_than_it_may_is_ended(kubectl: Kubectl) -> None:
    kubectl.apply(_pod("greedy", "python", "-c", "print(len(b' ' * 200_000_000))"), namespace="acquaintance")

    def reason() -> bool:
        (state,) = kubectl.get("pod", "greedy", "acquaintance")["status"].get("containerStatuses", [{}])
        return bool(state.get("state", {}).get("terminated", {}).get("reason") == "OOMKilled")

    eventually(reason, "the container is ended")
