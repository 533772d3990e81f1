"""The definition follows the chart: what Helm does not do with definitions by itself.

The tests of this module are one story, in the order in which they stand. It needs no node: nothing waits for pods.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kubectl import Kubectl
from cluster.rendering import CHART

NAMESPACE = "upgrades"
NAME = "orderflows.orderflow.dev"


@pytest.fixture(scope="module")
def kubectl(control_plane: Kubectl) -> Iterator[Kubectl]:
    """A cluster that does not know OrderFlow."""
    yield control_plane
    control_plane("delete", "customresourcedefinition", NAME, "--ignore-not-found")
    control_plane("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart from before OrderFlow had a short name."""
    chart = tmp_path_factory.mktemp("older") / "orderflow"
    shutil.copytree(CHART, chart)
    (file,) = (chart / "crd").iterdir()
    definition = yaml.safe_load(file.read_text())
    del definition["spec"]["names"]["shortNames"]
    file.write_text(yaml.safe_dump(definition))
    return chart


def _names(kubectl: Kubectl) -> Any:
    return kubectl.get("customresourcedefinition", NAME)["spec"]["names"]


def test_an_older_chart_installs_the_older_definition(kubectl: Kubectl, older: Path) -> None:
    kubectl.helm("install", "orderflow", older, f"--namespace={NAMESPACE}", "--create-namespace")
    assert "shortNames" not in _names(kubectl)


def test_an_upgrade_brings_the_newer_definition(kubectl: Kubectl) -> None:
    kubectl.helm("upgrade", "orderflow", CHART, f"--namespace={NAMESPACE}")
    assert _names(kubectl)["shortNames"] == ["of"]


def test_the_definition_outlives_the_release(kubectl: Kubectl) -> None:
    kubectl.helm("uninstall", "orderflow", f"--namespace={NAMESPACE}")
    assert _names(kubectl)


def test_the_same_release_takes_its_definition_up_again(kubectl: Kubectl) -> None:
    kubectl.helm("install", "orderflow", CHART, f"--namespace={NAMESPACE}")
    kubectl.helm("uninstall", "orderflow", f"--namespace={NAMESPACE}")


def test_a_definition_that_kubectl_has_made_can_be_given_to_a_release(kubectl: Kubectl) -> None:
    kubectl("delete", "customresourcedefinition", NAME)
    kubectl("apply", "--server-side", f"--filename={CHART.parents[1] / 'manifests' / 'crd.yaml'}")
    place = (f"meta.helm.sh/release-namespace={NAMESPACE}", "meta.helm.sh/release-name=orderflow")
    kubectl("annotate", "customresourcedefinition", NAME, *place)
    kubectl("label", "customresourcedefinition", NAME, "app.kubernetes.io/managed-by=Helm")
    kubectl.helm("install", "orderflow", CHART, f"--namespace={NAMESPACE}", "--force-conflicts")
    assert _names(kubectl)["shortNames"] == ["of"]
    kubectl.helm("uninstall", "orderflow", f"--namespace={NAMESPACE}")
