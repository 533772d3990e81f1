"""One writer at a time, an API server that goes away, and what people do to rollouts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.control_plane import ControlPlane
from harness.operated import OperatorProcess, Shop, eventually

MakeShop = Callable[..., Shop]
Orderflow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def orderflow(plane: ControlPlane) -> Orderflow:
    """The command, as a person runs it beside kubectl."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "orderflow.cli", *arguments]
        environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.fixture
def standby(plane: ControlPlane, operator: OperatorProcess, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A second operator."""
    second = OperatorProcess(plane.kubeconfig, tmp_path / "log", {})
    try:
        second.start(until="standing by")
        yield second
    finally:
        second.stop()
        if not operator.read("/health/live"):
            operator.start()


def test_a_second_operator_stands_by_and_takes_over(
    shop: MakeShop, operator: OperatorProcess, standby: OperatorProcess
) -> None:
    made = shop()
    eventually(made.is_ready)
    assert standby.metric("orderflow_operator_reconciles_total") == 0
    operator.stop()
    eventually(lambda: '"leading"' in standby.read("/health/ready"))
    made.kubectl("delete", "service", "shop-gateway", f"--namespace={made.namespace}")
    eventually(lambda: "shop-gateway" in made.all("services"))


def test_an_api_server_that_goes_away_and_comes_back_ends_nothing(
    shop: MakeShop, plane: ControlPlane, operator: OperatorProcess
) -> None:
    made = shop()
    eventually(made.is_ready)
    failed = operator.metric("orderflow_operator_reconciles_total", result="failed")
    plane.api_server.stop()
    eventually(lambda: operator.metric("orderflow_operator_leading") == 0)
    assert '"status":"ok"' in operator.read("/health/live")
    plane.api_server.start()
    plane.wait_for_api()
    made.kubectl("delete", "service", "shop-gateway", f"--namespace={made.namespace}")
    eventually(lambda: "shop-gateway" in made.all("services"))
    eventually(lambda: '"status":"ok"' in operator.read("/health/live"))
    assert operator.metric("orderflow_operator_reconciles_total", result="failed") == failed


def test_a_person_sees_and_steers_a_rollout_through_the_resource(shop: MakeShop, orderflow: Orderflow) -> None:
    made = shop()
    eventually(made.is_ready)
    space = f"--namespace={made.namespace}"
    shown = orderflow("rollout", "status", "shop", space)
    assert shown.returncode == 0, shown.stderr
    assert "Ready        True     Running" in shown.stdout

    assert orderflow("rollout", "pause", "shop", space).returncode == 0
    made.apply(image="registry.example/orderflow:2", paused=True)
    eventually(lambda: made.condition("Paused").get("reason") == "Paused" and made.status()["phase"] == "Paused")

    assert orderflow("rollout", "abort", "shop", space).returncode == 0
    watched = orderflow("rollout", "watch", "shop", space, "--timeout=60")
    assert watched.returncode == 1
    assert made.status()["lastRollback"]["reason"] == "Aborted"
    assert made.condition("RolledBack")["status"] == "True"


def test_a_resource_that_is_not_there_is_one_sentence(orderflow: Orderflow) -> None:
    told = orderflow("rollout", "status", "nothing", "--namespace=default")
    assert told.returncode == 1
    assert told.stderr.strip().endswith("there is no OrderFlow 'nothing' in the namespace 'default'")


def test_prometheus_is_told_of_the_pods_where_its_operator_is(shop: MakeShop, operator: OperatorProcess) -> None:
    made = shop()
    names = {"plural": "podmonitors", "singular": "podmonitor", "kind": "PodMonitor"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    made.kubectl.apply(definition)
    eventually(lambda: made.all("podmonitors") == {})
    operator.stop()
    operator.start()
    monitor = eventually(lambda: made.all("podmonitors").get("shop"))
    assert {one["port"] for one in monitor["spec"]["podMetricsEndpoints"]} == {"metrics", "http"}
    made.kubectl("delete", "podmonitor", "shop", f"--namespace={made.namespace}")
    eventually(lambda: "shop" in made.all("podmonitors"))
    made.apply(monitoring={"podMonitor": False})
    eventually(lambda: not made.all("podmonitors"))
