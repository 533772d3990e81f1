"""What is wired from a resource."""

from datetime import timedelta

import pytest

from orderflow.assembly import CALLS, all_contexts, providers_of, worker_settings
from orderflow.spec.deployment import Deployment, process_names, resolve
from orderflow.spec.errors import SpecError
from orderflow.spec.reading import parse_resource
from orderflow.spec.resource import CONTEXTS

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata: {name: wired}
spec: {production: %s}
"""


def deployed(tmp_path_factory: pytest.TempPathFactory, *, production: bool) -> Deployment:
    resource = parse_resource(RESOURCE % str(production).lower(), "wired.yaml")
    ports = dict.fromkeys(process_names(resource), 1)
    return resolve(resource, data_dir=tmp_path_factory.mktemp("data"), broker="b:1", ports=ports, revision="r")


def test_every_context_is_there_under_its_own_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    contexts = all_contexts(deployed(tmp_path_factory, production=False).resource)
    assert tuple(contexts) == CONTEXTS
    assert all(context.name == name for name, context in contexts.items())


def test_each_context_gets_the_providers_that_it_calls(tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = deployed(tmp_path_factory, production=False)
    for name, context in all_contexts(deployment.resource).items():
        assert set(providers_of(deployment, name)) == set(CALLS.get(name, ()))
        assert {call.partition("/")[0] for call in context.answers} <= set(CALLS.get(name, ()))


def test_faults_asked_for_by_the_environment_are_refused_in_production(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOS_FAILURE_RATE", "0.5")
    assert providers_of(deployed(tmp_path_factory, production=False), "payment")
    with pytest.raises(SpecError, match="CHAOS_FAILURE_RATE"):
        providers_of(deployed(tmp_path_factory, production=True), "payment")


def test_a_worker_keeps_what_was_recorded_for_as_long_as_the_resource_says(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    keeping = worker_settings(deployed(tmp_path_factory, production=False), "payment", "payment-0").keeping
    assert keeping is not None
    days = [keeping.inbox, keeping.outbox, keeping.tasks, keeping.decisions, keeping.audit_trail]
    assert days == [timedelta(days=number) for number in (30, 30, 30, 30, 365)]
