"""The definition and the examples are what an API server takes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.kubectl import Kubectl, Refused
from harness.system import eventually

MANIFESTS = Path(__file__).parents[2] / "manifests"
EXAMPLES = ("order-to-delivery", "payment-first", "reserve-first", "ship-only")


@pytest.fixture(scope="module")
def kubectl(control_plane: Kubectl) -> Iterator[Kubectl]:
    """A cluster that knows OrderFlow."""
    control_plane("apply", "--server-side", f"--filename={MANIFESTS / 'crd.yaml'}")
    eventually(lambda: "orderflows" in control_plane("api-resources", "--api-group=orderflow.dev"), "it is served")
    yield control_plane
    control_plane("delete", f"--filename={MANIFESTS / 'crd.yaml'}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted_with_every_field_that_it_has(kubectl: Kubectl, name: str) -> None:
    file = MANIFESTS / f"{name}.yaml"
    stored = json.loads(
        kubectl("create", "--dry-run=server", "--validate=strict", "--output=json", f"--filename={file}")
    )
    _assert_within(yaml.safe_load(file.read_text())["spec"], stored["spec"], "spec")


def test_a_resource_without_servers_of_its_own_is_refused_with_a_sentence(kubectl: Kubectl) -> None:
    with pytest.raises(Refused, match="in a cluster the broker and the databases are servers of their own"):
        kubectl("create", "--dry-run=server", f"--filename={MANIFESTS / 'quickstart.yaml'}")


def test_the_operator_without_helm_is_accepted(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", f"--filename={MANIFESTS / 'operator.yaml'}")
    kubectl("delete", f"--filename={MANIFESTS / 'operator.yaml'}")


def _assert_within(said: object, stored: object, path: str) -> None:
    """Everything that is said is stored as it was said; defaults may stand beside it."""
    if isinstance(said, dict) and isinstance(stored, dict):
        for key, value in said.items():
            assert key in stored, f"{path}.{key} was dropped"
            _assert_within(value, stored[key], f"{path}.{key}")
    elif isinstance(said, list) and isinstance(stored, list):
        assert len(said) == len(stored), path
        for number, (one, other) in enumerate(zip(said, stored, strict=True)):
            _assert_within(one, other, f"{path}[{number}]")
    else:
        assert said == stored, path
