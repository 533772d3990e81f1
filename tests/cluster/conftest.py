"""The clusters that tests ask for by name. Each is started once, by the first test that asks for it."""

import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cluster.control_plane import running_control_plane
from cluster.images import OPERATOR, PROCESSORS, project_image
from cluster.kubectl import Kubectl, Refused
from cluster.programs import program
from cluster.running import Cluster, given_cluster, running_cluster
from servers.process import ServerMissing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show how the cluster stands where a test on it has failed."""
    report = yield
    kubectl = getattr(item, "funcargs", {}).get("kubectl")
    if report.failed and isinstance(kubectl, Kubectl):
        with suppress(Refused):
            report.sections.append(("the cluster", kubectl.report()))
    return report


def _cannot_run(reason: str) -> None:
    """Say that a test cannot run here: on a laptop that is reported, in a pipeline it is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> None:
    """The right to make namespaces, mounts and images."""
    if os.geteuid() != 0:
        _cannot_run("not run: this needs root")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Kubectl]:
    """A cluster to which objects can be given. Whether it has nodes is left open."""
    with ExitStack() as stack:
        if given := os.environ.get("KUBECONFIG"):
            yield Kubectl(Path(given))
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orderflow-cluster-")))
        try:
            yield Kubectl(stack.enter_context(running_control_plane(folder)).kubeconfig)
        except ServerMissing as missing:
            pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that runs pods."""
    if given := os.environ.get("KUBECONFIG"):
        yield given_cluster(Path(given))
        return
    if os.geteuid() != 0:
        _cannot_run("not run: a node needs root, or a cluster that KUBECONFIG names")
    try:
        with running_cluster() as running:
            yield running
    except ServerMissing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def images(root: None) -> Iterator[dict[str, Path]]:
    """The archives of the project's images, by target."""
    with tempfile.TemporaryDirectory(prefix="orderflow-images-") as name:
        try:
            yield {
                target: project_image(target, image, Path(name) / f"{target}.tar")
                for target, image in (("processors", PROCESSORS), ("operator", OPERATOR))
            }
        except ServerMissing as missing:
            pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def helm() -> Path:
    """The real helm, built from its module."""
    try:
        return program("helm")
    except ServerMissing as missing:
        pytest.fail(str(missing), pytrace=False)
