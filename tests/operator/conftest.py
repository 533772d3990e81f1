"""A control plane, a broker, a node that is played, and the operator as it ships: as a process."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster.control_plane import ControlPlane, running_control_plane
from cluster.kubectl import Kubectl
from harness.operated import OperatorProcess, Shop, eventually
from harness.played_node import Node
from servers.process import ServerMissing

if TYPE_CHECKING:
    from orderflow.local.broker import RunningBroker

CRD = Path(__file__).parents[2] / "manifests" / "crd.yaml"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane of the tests' own, which knows OrderFlow. No node: one is played."""
    with tempfile.TemporaryDirectory(prefix="orderflow-operator-") as folder:
        try:
            with running_control_plane(Path(folder)) as running:
                kubectl = Kubectl(running.kubeconfig)
                kubectl("apply", "--server-side", f"--filename={CRD}")
                eventually(lambda: kubectl("get", "orderflows", "--output=name") == "")
                yield running
        except ServerMissing as missing:
            pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def kubectl(plane: ControlPlane) -> Kubectl:
    """What a person does to the control plane."""
    return Kubectl(plane.kubeconfig)


@pytest.fixture(scope="session")
def node(plane: ControlPlane, kafka: "RunningBroker") -> Iterator[Node]:
    """The node that is played."""
    with Node(plane.kubeconfig, kafka.broker.address).running() as node:
        yield node


@pytest.fixture(scope="session")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator, which leads."""
    process = OperatorProcess(plane.kubeconfig, tmp_path_factory.mktemp("operator") / "log", {})
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def shop(
    kubectl: Kubectl, kafka: "RunningBroker", operator: OperatorProcess, node: Node, _numbers: Iterator[int]
) -> Iterator[Callable[..., Shop]]:
    """Make a shop in a namespace of its own, and apply it; it is deleted after the test."""
    shops: list[Shop] = []

    def make(**spec: Any) -> Shop:
        made = Shop(kubectl, f"shop-{next(_numbers)}", kafka.broker.address, **spec)
        shops.append(made)
        made.apply()
        return made

    yield make
    for one in shops:
        one.delete()
