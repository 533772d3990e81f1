"""The example resources mean something, and there is one for each built-in flow."""

from pathlib import Path

import pytest

from orderflow.saga.flow import BUILT_IN
from orderflow.spec.reading import read_resource

MANIFESTS = Path(__file__).parents[3] / "manifests"
FLOWS = sorted(flow.name for flow in BUILT_IN)


@pytest.mark.parametrize("flow", FLOWS)
def test_each_flow_has_an_example_that_is_named_after_it(flow: str) -> None:
    resource = read_resource(MANIFESTS / f"{flow}.yaml")
    assert (resource.metadata.name, resource.spec.default_flow) == (flow, flow)


@pytest.mark.parametrize("flow", FLOWS)
def test_an_example_has_something_to_order_and_servers_of_its_own(flow: str) -> None:
    spec = read_resource(MANIFESTS / f"{flow}.yaml").spec
    assert spec.products
    assert spec.broker.address is not None
    assert spec.database.url is not None


def test_the_examples_can_share_a_broker_and_a_database_server() -> None:
    specs = [read_resource(MANIFESTS / f"{flow}.yaml").spec for flow in FLOWS]
    assert len({spec.broker.topic_prefix for spec in specs}) == len(specs)
    assert len({spec.database.url for spec in specs}) == len(specs)
