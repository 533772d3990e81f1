"""A whole cluster, from ``with`` to the end of its block: one of our own, or the one that KUBECONFIG names."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.addresses import Addresses, own_addresses
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
        addresses = stack.enter_context(own_addresses())
        folder = stack.enter_context(_own_folder(addresses))
        # First, as it brings the address that the API server listens on.
        box = stack.enter_context(sandbox(addresses, folder))
        plane = stack.enter_context(
            running_control_plane(folder, addresses.host, addresses.services, addresses.kubernetes)
        )
        node = stack.enter_context(running_node(folder, box, addresses, plane.certificates))
        yield Cluster(plane.kubeconfig, addresses.host, node.load, plane)


@contextmanager
def _own_folder(addresses: Addresses) -> Iterator[Path]:
    """Have the folder of the addresses' slot: whoever was killed in it could not clear it."""
    folder = Path(tempfile.gettempdir()) / f"{addresses.name}-cluster"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


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
