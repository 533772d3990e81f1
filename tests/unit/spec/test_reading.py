"""A file becomes a resource, or one sentence with file, line and field."""

from pathlib import Path

import pytest

from orderflow.spec.errors import SpecError
from orderflow.spec.reading import parse_resource, read_resource
from orderflow.spec.resource import OrderFlow

MANIFESTS = Path(__file__).parents[3] / "manifests"

HEAD = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata:\n  name: shop\nspec:\n"
"""Five lines: what follows begins on line 6."""


def spec(body: str) -> OrderFlow:
    return parse_resource(HEAD + body, "x.yaml")


def sentence(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_resource(text, "x.yaml")
    return str(caught.value)


def spec_sentence(body: str) -> str:
    return sentence(HEAD + body)


def test_the_quickstart_is_read_and_offers_five_products_with_large_stock() -> None:
    resource = read_resource(MANIFESTS / "quickstart.yaml")
    assert [product.id for product in resource.spec.products] == ["sku-1", "sku-2", "sku-3", "sku-4", "sku-5"]
    assert {product.stock for product in resource.spec.products} == {1_000_000}
    assert resource.spec.default_flow == "order-to-delivery"
    assert len(resource.spec.tenants) <= 3


def test_every_resource_of_the_project_is_read() -> None:
    resources = [path for path in MANIFESTS.glob("*.yaml") if path.stem not in {"crd", "operator"}]
    assert len(resources) >= 5
    assert all(read_resource(path).metadata.name for path in resources)


def test_what_is_not_said_has_its_default() -> None:
    resource = parse_resource(HEAD.replace("spec:\n", ""), "x.yaml")
    assert resource.spec.broker.partitions == 4
    assert resource.spec.gateway.port == 8080
    assert resource.spec.inventory.reservation_seconds == 900
    assert resource.spec.processors.of("payment").replicas == 1


def test_labels_and_other_metadata_of_kubernetes_are_left_alone() -> None:
    text = HEAD.replace("  name: shop\n", "  name: shop\n  namespace: demo\n  labels: {team: a}\n")
    assert parse_resource(text + "  gateway: {}\n", "x.yaml").metadata.name == "shop"


def test_a_price_may_be_a_number() -> None:
    [product] = spec("  products: [{id: a, name: A, price: 19.9, stock: 3}]\n").spec.products
    assert str(product.price) == "19.90"


def test_anchors_and_merge_keys_are_yaml_like_any_other() -> None:
    resource = spec("  processors:\n    payment: &two {replicas: 2}\n    order:\n      <<: *two\n")
    assert resource.spec.processors.order.replicas == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "  processors:\n    payment:\n      replicas: three\n",
            "x.yaml:8: spec.processors.payment.replicas: expected `int`, got `str`",
            id="another type",
        ),
        pytest.param(
            "  gateway:\n    port: 0\n", "x.yaml:7: spec.gateway.port: expected `int` >= 1", id="out of range"
        ),
        pytest.param(
            "  broker:\n    partitions:\n", "x.yaml:7: spec.broker.partitions: expected `int`, got nothing", id="empty"
        ),
        pytest.param(
            "  brokr:\n    partitions: 2\n",
            "x.yaml:6: spec.brokr: there is no such field, did you mean `broker`?",
            id="a field spelt wrong",
        ),
        pytest.param(
            "  logging:\n    verbosity: 3\n",
            "x.yaml:7: spec.logging.verbosity: there is no such field, expected one of `level`",
            id="an unknown field",
        ),
        pytest.param(
            "  processors:\n    paiment: {replicas: 1}\n",
            "x.yaml:7: spec.processors.paiment: there is no such field, did you mean `payment`?",
            id="an unknown context",
        ),
        pytest.param(
            "  flows:\n    - name: quick\n      steps:\n        - name: payment\n          deadline: 3\n",
            "x.yaml:10: spec.flows[0].steps[0].deadline: there is no such field, did you mean `deadlineSeconds`?",
            id="an unknown field of a flow",
        ),
        pytest.param(
            "  logging: {level: loud}\n",
            "x.yaml:6: spec.logging.level: expected `debug` or `error` or `info` or `warning`, got 'loud'",
            id="none of the choices",
        ),
        pytest.param(
            "  tenants:\n    - name: a\n",
            "x.yaml:7: spec.tenants[0]: missing required field `flow`",
            id="a missing field",
        ),
        pytest.param(
            "  products:\n    - id: a\n      name: A\n      price: 1.001\n      stock: 1\n",
            "x.yaml:9: spec.products[0].price: expected an amount with at most two decimal places",
            id="what a product says of its price",
        ),
        pytest.param(
            "  simulation:\n    carrier:\n      latencySeconds: [5, 1]\n",
            "x.yaml:8: spec.simulation.carrier.latencySeconds: "
            "expected [least, most] with 0 <= least <= most, got [5.0, 1.0]",
            id="what a provider says of its faults",
        ),
        pytest.param(
            "  gateway:\n    port: 8080\n    port: 8081\n",
            "x.yaml:8: spec.gateway.port: stands on line 7 already",
            id="a key twice",
        ),
        pytest.param(
            "  gateway:\n    [1, 2]: 3\n",
            "x.yaml:7: spec.gateway: expected a name before the colon",
            id="a list as key",
        ),
        pytest.param("  gateway:\n\tport: 1\n", "x.yaml:7: not YAML: a tab stands where YAML wants spaces", id="a tab"),
        pytest.param(
            "  gateway: [1\n", "x.yaml:7: not YAML: expected ',' or ']', but got '<stream end>'", id="broken YAML"
        ),
        pytest.param(
            "  gateway: !secret 1\n",
            "x.yaml:6: not YAML: could not determine a constructor for the tag '!secret'",
            id="an unknown tag",
        ),
        pytest.param(
            "  defaultFlow: a\x00b\n", "x.yaml:6: not YAML: the character 0 cannot stand here", id="a control character"
        ),
        pytest.param(
            "  gateway: {}\n---\nmore: 1\n",
            "x.yaml:8: expected one document, got 2: an OrderFlow resource has a file of its own",
            id="two documents",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_field(body: str, expected: str) -> None:
    assert spec_sentence(body) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml: the file is empty, expected an OrderFlow resource"),
        ("# nothing\n---\n", "x.yaml: the file is empty, expected an OrderFlow resource"),
        ("- a\n- b\n", "x.yaml:1: expected an OrderFlow resource, got a list"),
        ("hello\n", "x.yaml:1: expected an OrderFlow resource, got `hello`"),
        ("kind: OrderFlow\n", "x.yaml:1: apiVersion: missing, expected `orderflow.dev/v1alpha1`"),
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "x.yaml:1: apiVersion: expected `orderflow.dev/v1alpha1`, got `apps/v1`",
        ),
        (
            "apiVersion: orderflow.dev/v1alpha1\nkind: [OrderFlow]\n",
            "x.yaml:2: kind: expected `OrderFlow`, got a list",
        ),
        ("apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\n", "x.yaml:1: missing required field `metadata`"),
        (
            "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata:\n  labels: {}\n",
            "x.yaml:3: metadata: missing required field `name`",
        ),
    ],
)
def test_a_file_that_is_no_resource_says_what_it_is(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_a_name_that_kubernetes_would_not_take_is_refused() -> None:
    text = HEAD.replace("name: shop", "name: My Shop")
    assert sentence(text).startswith("x.yaml:4: metadata.name: expected `str` matching regex")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.yaml: there is no such file$"):
        read_resource(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match=r"expected a file, got a folder$"):
        read_resource(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SpecError, match=r"latin\.yaml: expected UTF-8, got 0xe9$"):
        read_resource(latin)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "marked.yaml"
    path.write_text(HEAD.replace("spec:\n", ""), encoding="utf-8-sig")
    assert read_resource(path).metadata.name == "shop"
