"""What makes a revision, and what does not."""

from typing import Any

import msgspec
import pytest

from orderflow.spec.deployment import Deployment
from orderflow.spec.resource import CONTEXTS, OrderFlow
from orderflow_operator.revisions import Revision, Source, references, release_of, revision_of, unknown
from orderflow_operator.settings import file_of

SPEC: dict[str, Any] = {
    "broker": {"address": "kafka:9092"},
    "database": {"url": "postgresql://me@db/orderflow_{context}", "credentials": {"name": "database"}},
}


def resource(**changes: Any) -> OrderFlow:
    body = {"apiVersion": "orderflow.dev/v1alpha1", "kind": "OrderFlow", "metadata": {"name": "shop"}}
    return msgspec.convert({**body, "spec": {**SPEC, **changes}}, OrderFlow)


def revisions(given: OrderFlow, digests: dict[Source, str] | None = None) -> dict[str, Revision]:
    return {context: revision_of(given, "here", context, "orderflow:1", digests or {}) for context in CONTEXTS}


def changed(before: OrderFlow, after: OrderFlow) -> set[str]:
    old, new = revisions(before), revisions(after)
    return {context for context in CONTEXTS if old[context].name != new[context].name}


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({"image": "orderflow:2"}, set(CONTEXTS)),
        ({"logging": {"level": "debug"}}, set(CONTEXTS)),
        ({"pods": {"env": [{"name": "A", "value": "1"}]}}, set(CONTEXTS)),
        ({"products": [{"id": "a", "name": "A", "price": "1.00", "stock": 1}]}, {"inventory"}),
        ({"cache": {"ttlSeconds": 5}}, {"order"}),
        ({"processors": {"payment": {"image": "orderflow:2"}}}, {"payment"}),
        ({"processors": {"payment": {"resources": {"limits": {"memory": "1Gi"}}}}}, {"payment"}),
        ({"processors": {"payment": {"replicas": 3}}}, set()),
        ({"processors": {"payment": {"strategy": {"blueGreen": {}}}}}, set()),
        ({"paused": True, "revisionHistoryLimit": 3, "deletionPolicy": "Delete"}, set()),
    ],
)
def test_a_change_is_a_new_revision_of_those_who_notice_it(changes: dict[str, Any], whose: set[str]) -> None:
    assert changed(resource(), resource(**changes)) == whose


def test_saying_what_goes_without_saying_changes_nothing() -> None:
    assert not changed(resource(), resource(logging={"level": "info"}, pods={"imagePullPolicy": "IfNotPresent"}))


def test_what_a_source_holds_is_part_of_the_revision() -> None:
    given = resource(pods={"envFrom": [{"secretRef": {"name": "keys"}}]})
    source = Source("Secret", "keys")
    first, second = (revisions(given, {source: content})["order"] for content in ("one", "two"))
    assert first.name != second.name
    assert first.copies[0].name_in("shop") != second.copies[0].name_in("shop")


def test_credentials_are_named_and_never_part_of_it() -> None:
    revision = revisions(resource())["payment"]
    assert revision.credentials == "database"
    assert Source("Secret", "database") not in references(resource())


def test_a_source_that_is_not_there_is_named_with_its_field() -> None:
    given = resource(processors={"order": {"envFrom": [{"configMapRef": {"name": "settings"}}]}})
    (missing,) = unknown(given, {})
    assert (missing.source, missing.field) == (
        Source("ConfigMap", "settings"),
        "spec.processors.order.envFrom[0]",
    )


def test_its_file_is_a_deployment_that_a_pod_can_run_with() -> None:
    revision = revisions(resource())["payment"]
    deployment = msgspec.json.decode(file_of(revision.settings, revision.name), type=Deployment)
    assert deployment.revision == revision.name
    assert not deployment.migrates
    assert deployment.port_of("shop-payment-x7f9k", "payment") == 8081
    assert deployment.database_url("payment") == (
        "postgresql://me@db/orderflow_payment?credentials=/etc/orderflow/credentials"
    )
    assert deployment.gateway == "http://shop-gateway.here.svc:8080"


def test_a_release_is_named_by_all_of_its_revisions() -> None:
    assert release_of({"a": "1", "b": "2"}) == release_of({"b": "2", "a": "1"}) != release_of({"a": "1", "b": "3"})


def test_a_revision_survives_its_record() -> None:
    revision = revisions(resource(pods={"env": [{"name": "A", "value": "1"}]}))["order"]
    assert msgspec.convert(msgspec.to_builtins(revision), Revision).name == revision.name
