"""What a resource comes down to on one machine."""

from pathlib import Path

import msgspec
import pytest

from orderflow.spec.deployment import (
    Deployment,
    process_names,
    processor_names,
    reachable,
    read_deployment,
    resolve,
    revision_of,
)
from orderflow.spec.errors import SpecError
from orderflow.spec.reading import parse_resource
from orderflow.spec.resource import CONTEXTS, OrderFlow

HEAD = "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n"


def resource(body: str = "  gateway: {}\n") -> OrderFlow:
    return parse_resource(HEAD + body, "x.yaml")


def deployed(body: str = "  gateway: {}\n", data_dir: Path = Path("/data")) -> Deployment:
    given = resource(body)
    ports = {name: 20_000 + number for number, name in enumerate(process_names(given))}
    return resolve(given, data_dir=data_dir, broker="127.0.0.1:9092", ports=ports, revision="r1")


def test_each_context_has_a_sqlite_file_of_its_own() -> None:
    deployment = deployed()
    assert deployment.database_url("payment") == "sqlite:////data/databases/payment.sqlite"
    assert len({deployment.database_url(context) for context in CONTEXTS}) == len(CONTEXTS)


def test_the_providers_record_is_nobody_elses_database() -> None:
    assert deployed().provider_record == "sqlite:////data/providers/{provider}.sqlite"
    told = deployed("  simulation: {recordUrl: 'postgresql+psycopg://me@host/outside'}\n")
    assert told.provider_record == "postgresql+psycopg://me@host/outside"


def test_a_template_names_each_contexts_database() -> None:
    deployment = deployed("  database: {url: 'postgresql+psycopg://me@host/orderflow_{context}'}\n")
    assert deployment.database_url("order") == "postgresql+psycopg://me@host/orderflow_order"


def test_the_resources_broker_goes_before_the_embedded_one() -> None:
    assert deployed().broker == "127.0.0.1:9092"
    assert deployed("  broker: {address: 'kafka:9092'}\n").broker == "kafka:9092"


def test_every_process_has_a_port_and_the_order_api_the_gateways() -> None:
    deployment = deployed("  gateway: {port: 9000}\n  processors: {payment: {replicas: 2}}\n")
    assert {"payment-0", "payment-1", "order-0", "inventory-api"} <= deployment.ports.keys()
    assert deployment.ports["order-api"] == 9000
    assert len(set(deployment.ports.values())) == len(deployment.ports) == 13
    assert deployment.read_apis["order"] == deployment.gateway == "http://127.0.0.1:9000"
    assert deployment.read_apis["payment"] == f"http://127.0.0.1:{deployment.ports['payment-api']}"


def test_replicas_are_numbered() -> None:
    assert processor_names(resource("  processors: {order: {replicas: 3}}\n"), "order") == (
        "order-0",
        "order-1",
        "order-2",
    )


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7"), ("shop", "shop")]
)
def test_a_host_that_means_all_is_reached_at_the_own_machine(host: str, address: str) -> None:
    assert reachable(host) == address


def test_an_ipv6_gateway_has_brackets_in_its_url() -> None:
    assert deployed("  gateway: {host: '::1'}\n").gateway == "http://[::1]:8080"


def test_the_environment_names_the_revision_else_the_package_does() -> None:
    assert revision_of({"ORDERFLOW_REVISION": "abc"}) == "abc"
    assert revision_of({}) == revision_of({"ORDERFLOW_REVISION": ""}) != ""


def test_a_deployment_survives_its_file(tmp_path: Path) -> None:
    deployment = deployed(
        "  products: [{id: a, name: A, price: 4.5, stock: 2}]\n"
        "  flows: [{name: pay, steps: [{name: payment}]}]\n"
        "  tenants: [{name: t, flow: pay}]\n"
        "  simulation: {card: {declineRate: 0.5}}\n",
        tmp_path,
    )
    file = tmp_path / "run.json"
    file.write_bytes(msgspec.json.encode(deployment))
    assert read_deployment(file) == deployment
    assert read_deployment(environment={"ORDERFLOW_DEPLOYMENT": str(file)}) == deployment


def test_a_relative_folder_is_made_absolute() -> None:
    assert Path(deployed(data_dir=Path("here")).data_dir).is_absolute()


def test_a_deployment_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--deployment FILE or ORDERFLOW_DEPLOYMENT"):
        read_deployment(environment={})
    with pytest.raises(SpecError, match=r"absent: No such file"):
        read_deployment(tmp_path / "absent")
    other = tmp_path / "other.json"
    other.write_text('{"name": 1}')
    with pytest.raises(SpecError, match=r"other\.json: no deployment of this version"):
        read_deployment(other)


def test_a_process_has_a_port_of_its_own_or_that_of_its_kind() -> None:
    deployment = deployed()
    assert deployment.port_of("payment-0", "payment") == deployment.ports["payment-0"]
    in_a_cluster = msgspec.structs.replace(deployment, ports={"payment": 8081})
    assert in_a_cluster.port_of("shop-payment-7d9f-x2", "payment") == 8081
