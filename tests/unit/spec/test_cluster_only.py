"""What `orderflow up` says that it leaves out."""

from orderflow.spec.cluster_only import only_in_a_cluster
from orderflow.spec.reading import parse_resource

HEAD = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n"


def test_what_only_a_cluster_uses_is_named_and_the_rest_is_not() -> None:
    resource = parse_resource(
        HEAD
        + "  image: orderflow:2\n"
        + "  broker: {address: 'kafka:9092', topicConfig: {a: b}}\n"
        + "  processors: {payment: {replicas: 2, strategy: {blueGreen: {}}}, order: {replicas: 3}}\n",
        "x.yaml",
    )
    assert only_in_a_cluster(resource) == (
        "spec.image",
        "spec.broker.topicConfig",
        "spec.processors.payment.strategy",
    )


def test_a_resource_for_one_machine_leaves_nothing_out() -> None:
    assert only_in_a_cluster(parse_resource(HEAD + "  production: true\n", "x.yaml")) == ()
