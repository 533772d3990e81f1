"""A whole cluster, from ``with`` to the end of its block: one of our own, or the one that KUBECONFIG names."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.addresses import own_addresses
from cluster.control_plane import ControlPlane, running_control_plane
from cluster.kubectl import Kubectl
from cluster.node import check_node_can_run, running_node
from cluster.sandbox import sandbox
from servers.process import program as installed

HOST_VARIABLE: Final = "ORDERFLOW_TEST_HOST"
"""The environment variable with the address at which the pods of a given cluster reach this machine."""


@dataclass(frozen=True)
class Cluster:
    """A cluster with a node.

    Attributes:
        host: the address at which its pods reach this machine.
        load: gives its nodes the images of a docker archive.
        plane: the control plane, if it is ours.
    """

    kubeconfig: Path
    host: str
    load: Callable[[Path], None]
    plane: ControlPlane | None = None

    @property
    def kubectl(self) -> Kubectl:
        """What a person does to it."""
        return Kubectl(self.kubeconfig)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run a control plane and a node. Needs root; all of it is gone at the end.

    Raises:
        ServerMissing: something that a node needs is not installed.
    """
    check_node_can_run()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orderflow-cluster-")))
        addresses = stack.enter_context(own_addresses())
        # First, as it brings the address that the API server listens on.
        box = stack.enter_context(sandbox(addresses, folder))
        plane = stack.enter_context(
            running_control_plane(folder, addresses.host, addresses.services, addresses.kubernetes)
        )
        node = stack.enter_context(running_node(folder, box, addresses, plane.certificates))
        yield Cluster(plane.kubeconfig, addresses.host, node.load, plane)


def given_cluster(kubeconfig: Path) -> Cluster:
    """Return the cluster that ``kubeconfig`` names. A kind cluster is given its images, others have them already."""
    context = Kubectl(kubeconfig)("config", "current-context").strip()
    host = os.environ.get(HOST_VARIABLE)
    if host is None:
        raise RuntimeError(f"{HOST_VARIABLE} has to say at which address {context}'s pods reach this machine")

    def load(archive: Path) -> None:
        kind = context.removeprefix("kind-")
        if kind != context:
            command = [installed("kind", "kind"), "load", "image-archive", str(archive), f"--name={kind}"]
            subprocess.run(command, check=True, capture_output=True)

    return Cluster(kubeconfig, host, load)
