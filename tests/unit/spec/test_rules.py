"""What must hold between the fields of a resource."""

import msgspec
import pytest

from orderflow.providers.faults import Simulation
from orderflow.spec.errors import SpecError
from orderflow.spec.reading import parse_resource
from orderflow.spec.resource import OrderFlow
from orderflow.spec.rules import check

HEAD = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n"


def sentence(body: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_resource(HEAD + body, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "  broker: {partitions: 2}\n  processors:\n    payment: {replicas: 3}\n",
            "x.yaml:7: spec.processors.payment.replicas: expected at most spec.broker.partitions (2), got 3: "
            "a replica without a partition has nothing to do",
            id="more replicas than partitions",
        ),
        pytest.param(
            "  broker:\n    replicationFactor: 3\n",
            "x.yaml:6: spec.broker.replicationFactor: expected 1, got 3: "
            "without spec.broker.address there is one broker",
            id="replicas of an embedded broker",
        ),
        pytest.param(
            "  database:\n    url: mysql://me:secret@host/orderflow_{context}\n",
            "x.yaml:6: spec.database.url: expected a URL that begins with postgresql:// or sqlite://",
            id="another database",
        ),
        pytest.param(
            "  database:\n    url: postgresql+psycopg://me@host/orderflow\n",
            "x.yaml:6: spec.database.url: expected {context} in it: each context has a database of its own",
            id="one database for all",
        ),
        pytest.param(
            "  cache:\n    url: localhost:6379\n",
            "x.yaml:6: spec.cache.url: expected a URL that begins with redis:// or rediss:// or unix://",
            id="a cache without a scheme",
        ),
        pytest.param(
            "  products:\n    - {id: a, name: A, price: 1, stock: 1}\n    - {id: a, name: B, price: 1, stock: 1}\n",
            "x.yaml:7: spec.products[1].id: 'a' stands in products[0] already",
            id="a product twice",
        ),
        pytest.param(
            "  deadLetters:\n    automatic:\n      - {cause: refused}\n      - {cause: refused, attempts: 1}\n",
            "x.yaml:8: spec.deadLetters.automatic[1].cause: 'refused' stands in deadLetters.automatic[0] already",
            id="two policies for a cause",
        ),
        pytest.param(
            "  deadLetters:\n    quarantineAfter: 2\n    automatic:\n      - {cause: data-error, attempts: 3}\n",
            "x.yaml:8: spec.deadLetters.automatic[0].attempts: expected at most spec.deadLetters.quarantineAfter (2), "
            "got 3",
            id="attempts beyond the quarantine",
        ),
        pytest.param(
            "  retention:\n    inboxDays: 14\n",
            "x.yaml:6: spec.retention.inboxDays: expected more than spec.retention.topicsDays (14), got 14: "
            "what lies on a topic may come again",
            id="an inbox that forgets what may come again",
        ),
        pytest.param(
            "  retention: {topicsDays: 40, inboxDays: 50}\n",
            "x.yaml:5: spec.retention.outboxDays: expected more than spec.retention.topicsDays (40), got 30: "
            "what lies on a topic may come again",
            id="an outbox that forgets what may come again",
        ),
        pytest.param(
            "  tenants:\n    - {name: a, flow: ship-only}\n    - {name: a, flow: ship-only}\n",
            "x.yaml:7: spec.tenants[1].name: 'a' stands in tenants[0] already",
            id="a tenant twice",
        ),
        pytest.param(
            "  defaultFlow: fast\n",
            "x.yaml:5: spec.defaultFlow: there is no flow 'fast'; "
            "there are order-to-delivery, payment-first, reserve-first, ship-only",
            id="an unknown default flow",
        ),
        pytest.param(
            "  tenants:\n    - name: a\n      flow: fast\n",
            "x.yaml:7: spec.tenants[0].flow: there is no flow 'fast'; "
            "there are order-to-delivery, payment-first, reserve-first, ship-only",
            id="an unknown flow of a tenant",
        ),
        pytest.param(
            "  flows:\n    - name: odd\n      steps:\n        - name: fulfillment\n        - name: payment\n",
            "x.yaml:8: spec.flows[0].steps[0].name: fulfillment comes last: goods that left cannot wait for anything",
            id="a flow that cannot be",
        ),
        pytest.param(
            "  production: true\n  simulation:\n    card: {declineRate: 0.5}\n",
            "x.yaml:6: spec.simulation: faults are not simulated where spec.production is true",
            id="faults in production",
        ),
        pytest.param(
            "  broker: {address: kafka}\n", "x.yaml:5: spec.broker.address: expected `str` matching regex", id="no port"
        ),
    ],
)
def test_a_resource_that_means_nothing_is_refused_at_the_field(body: str, expected: str) -> None:
    assert sentence(body).startswith(expected)


def test_a_password_in_a_url_is_not_repeated() -> None:
    assert "secret" not in sentence("  database: {url: 'mysql://me:secret@host/{context}'}\n")


def test_a_declared_flow_can_be_the_default_and_a_tenants() -> None:
    flows = "  flows: [{name: pay, steps: [{name: payment}]}]\n"
    body = f"  defaultFlow: pay\n  tenants: [{{name: a, flow: pay}}]\n{flows}"
    resource = parse_resource(HEAD + body, "x.yaml")
    assert resource.spec.flow_of_tenant == {"a": "pay"}


def test_several_brokers_can_be_named() -> None:
    body = "  broker: {address: 'kafka-1:9092,[::1]:9093', replicationFactor: 3}\n"
    assert parse_resource(HEAD + body, "x.yaml").spec.broker.replication_factor == 3


def test_a_resource_that_came_without_a_file_is_refused_by_field_alone() -> None:
    document = {
        "apiVersion": "orderflow.dev/v1alpha1",
        "kind": "OrderFlow",
        "metadata": {"name": "shop"},
        "spec": {"defaultFlow": "fast"},
    }
    with pytest.raises(SpecError, match=r"^spec\.defaultFlow: there is no flow 'fast'"):
        check(msgspec.convert(document, OrderFlow))


def test_the_outside_is_as_ever_unless_said_otherwise_and_well_in_production() -> None:
    assert parse_resource(HEAD + "  gateway: {}\n", "x").spec.outside.carrier == Simulation().carrier
    production = parse_resource(HEAD + "  production: true\n", "x").spec.outside
    assert (production.carrier.error_rate, production.card.error_rate) == (0, 0)
    assert production.carrier.latency_seconds[1] == 0
    said = parse_resource(HEAD + "  simulation: {card: {declineRate: 1}}\n", "x").spec.outside
    assert said.card.decline_rate == 1
