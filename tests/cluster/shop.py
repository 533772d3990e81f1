"""A shop on the cluster, as its owner sets it up: the operator by Helm, a broker and databases outside, a resource."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.images import OPERATOR, PROCESSORS
from cluster.kubectl import Kubectl, Object
from cluster.rendering import CHART
from cluster.running import Cluster
from harness.system import ENDED, eventually
from orderflow.spec.resource import CONTEXTS
from servers.kafka import running_kafka
from servers.postgres import PASSWORD, USER, Postgres

RELEASE: Final = "orderflow"
MANIFESTS: Final = CHART.parents[1] / "manifests"
SECRET: Final = "databases"

READY_WITHIN: Final = 240
"""Seconds. A dozen Python processes start: some forty seconds of processor time, on as many cores as there are."""


@dataclass(frozen=True)
class Outside:
    """What a cluster does not bring: a broker and a database server that its pods can reach."""

    broker: str
    postgres: Postgres

    def database_url(self, prefix: str) -> str:
        """Return the address of databases whose names begin with ``prefix``, as a resource has it."""
        return f"postgresql+psycopg://{self.postgres.host}:{self.postgres.port}/{prefix}_{{context}}"

    def create_databases(self, prefix: str) -> None:
        """Create the databases of a resource."""
        for context in (*CONTEXTS, "providers"):
            self.postgres.execute(f"CREATE DATABASE {prefix}_{context}")


@contextmanager
def running_outside(cluster: Cluster, folder: Path) -> Iterator[Outside]:
    """Run a broker and a database server at the address at which the cluster's pods reach this machine."""
    with ExitStack() as stack:
        kafka = stack.enter_context(running_kafka(folder, cluster.host))
        postgres = Postgres(cluster.host)
        stack.callback(postgres.close)
        yield Outside(kafka.broker.address, postgres)


def install_operator(kubectl: Kubectl, namespace: str, *values: str) -> None:
    """Install the chart with the images of the tests, and wait until the operator is ready."""
    images = []
    for name, image in (("operator", OPERATOR), ("processors", PROCESSORS)):
        repository, _, tag = image.rpartition(":")
        images += [f"image.{name}.repository={repository}", f"image.{name}.tag={tag}"]
    settings = [part for value in (*images, *values) for part in ("--set", value)]
    where = ("--namespace", namespace, "--create-namespace", "--wait", "--timeout=120s")
    kubectl.helm("install", RELEASE, CHART, *where, *settings)


def example(name: str, outside: Outside, prefix: str) -> dict[str, Any]:
    """Return one of the example resources with the addresses of ``outside``."""
    resource: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    resource["spec"]["broker"] |= {"address": outside.broker, "topicPrefix": f"{prefix}-"}
    resource["spec"]["database"]["url"] = outside.database_url(prefix)
    return resource


def secret() -> Object:
    """Return the credentials of the databases, as the examples refer to them."""
    metadata = {"name": SECRET}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "stringData": {"username": USER, "password": PASSWORD},
    }


class Gateway:
    """The order API of a resource, as the machine that the cluster runs on reaches it: by its Service."""

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        spec = kubectl.get("service", f"{name}-gateway", namespace)["spec"]
        self.url = f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer to a request, decoded.

        Raises:
            urllib.error.URLError: there is none, or one that says no.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read())

    def place(self, product: str, quantity: int = 1) -> str:
        """Place an order and return its id."""
        items = [{"productId": product, "quantity": quantity}]
        placed = self.request("POST", "/api/orders", {"customerId": "c-1", "customerName": "A Name", "items": items})
        order: str = placed["orderId"]
        return order

    def end_of(self, order: str, within: float = 90.0) -> str:
        """Wait for an order's end and return its last status."""

        def status() -> str | None:
            try:
                shown: str = self.request("GET", f"/api/orders/{order}")["status"]
            except urllib.error.URLError:
                return None
            return shown if shown in ENDED else None

        ended: str = eventually(status, f"order {order} ends", within)
        return ended
