"""Two revisions of a processor in one consumer group: the new one has as many partitions as it may, whoever comes and
goes, and no order notices."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from harness.system import ENDED, System, eventually, everything
from orderflow.runtime.database import allow_revision, open_database
from orderflow.spec.reading import parse_resource

PARTITIONS = 8
RESOURCE = f"""
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata:
  name: shares
spec:
  broker:
    partitions: {PARTITIONS}
  processors:
    payment: {{replicas: 2}}
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 100000}}
"""


@pytest.fixture
def system(kafka_address: str, tmp_path: Path) -> Iterator[System]:
    system = System(parse_resource(RESOURCE, "shares.yaml"), tmp_path, kafka_address)
    try:
        named = everything(system.deployment.resource)
        unneeded = ("notification", "analytics", "fulfillment")
        system.start(*(name for name in named if not name.startswith(unneeded) and name != "inventory-api"))
        eventually(lambda: system.get("/api/products")[1]["products"], "the catalogue is there")
        yield system
    finally:
        system.stop()


class Group:
    """The consumer group of the payment context, as the broker sees it."""

    def __init__(self, system: System) -> None:
        self._admin = AdminClient({"bootstrap.servers": system.deployment.broker})
        self._name = f"{system.prefix}payment"
        self._topic = f"{system.prefix}payment-commands"
        self._topics = {self._topic, f"{system.prefix}payment-payment-state-changelog"}

    def partitions(self) -> dict[str, list[int]]:
        """Return each member's partitions of the command topic, by the member's name; nothing while they move."""
        group = self._admin.describe_consumer_groups([self._name])[self._name].result()
        if group.state.name != "STABLE":
            return {}
        found = {}
        for member in group.members:
            by_topic: dict[str, set[int]] = {}
            for one in member.assignment.topic_partitions:
                by_topic.setdefault(one.topic, set()).add(one.partition)
            mine = by_topic.get(self._topic, set())
            assert all(numbers == mine for numbers in by_topic.values()), "all topics are divided alike"
            found[member.client_id] = sorted(mine)
        return found

    def comes_to(self, **shares: int) -> None:
        """Wait until the members have so many partitions each; names are written with an underscore."""
        wanted = {name.replace("_", "-"): number for name, number in shares.items()}

        def there() -> bool:
            members = self.partitions()
            spread = sorted(number for numbers in members.values() for number in numbers)
            assert len(spread) == len(set(spread)), f"a partition has two owners: {members}"
            return {name: len(numbers) for name, numbers in members.items()} == wanted

        try:
            eventually(there, f"the members have {wanted}", within=40)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.partitions()}") from late


def allow(system: System, revision: str) -> None:
    engine = open_database(system.deployment.database_url("payment"))
    with engine.begin() as connection:
        allow_revision(connection, revision, datetime.now(UTC))
    engine.dispose()


def outside(system: System, name: str) -> str:
    """Return why the process says it is outside the group; empty if it does not."""
    status, answer = system.get(f"http://127.0.0.1:{system.deployment.ports[name]}/health/ready")
    checks = answer["checks"] if status == 200 else []
    return next((str(check["detail"]) for check in checks if check["name"] == "outside the group"), "")


def ended(system: System) -> int:
    words = ", ".join(f"'{word}'" for word in sorted(ENDED))
    [(number,)] = system.rows("order", f"SELECT count(*) FROM orders WHERE status IN ({words})")
    return int(number)


def test_a_revision_has_exactly_its_share_whoever_comes_and_goes(system: System, tmp_path: Path) -> None:
    group, share = Group(system), tmp_path / "share"
    group.comes_to(payment_0=4, payment_1=4)
    share.write_text("0")
    system.add_worker_of("new", "payment-10", share)
    assert outside(system, "payment-10") == "no share of the partitions"

    share.write_text("3")
    eventually(lambda: outside(system, "payment-10") == "the revision may not write", "it is refused")
    group.comes_to(payment_0=4, payment_1=4)
    with ThreadPoolExecutor(4) as pool:
        placing = [pool.submit(system.place, "payment-first", ("sku-1", 1)) for _ in range(200)]
        allow(system, "new")
        group.comes_to(payment_0=3, payment_1=2, payment_10=3)

        system.add_worker_of("new", "payment-11", share)
        group.comes_to(payment_0=3, payment_1=2, payment_10=2, payment_11=1)

        system.kill("payment-0")
        group.comes_to(payment_1=5, payment_10=2, payment_11=1)

        system.processes["payment-10"].send_signal(signal.SIGTERM)
        group.comes_to(payment_1=5, payment_11=3)
        system.start("payment-0")
        group.comes_to(payment_0=2, payment_1=3, payment_11=3)

        share.write_text("5")
        group.comes_to(payment_0=1, payment_1=2, payment_11=5)
        share.write_text("all")
        group.comes_to(payment_0=2, payment_1=3, payment_11=3)

        process = system.processes["payment-11"]
        share.write_text("0")
        group.comes_to(payment_0=4, payment_1=4)
        eventually(lambda: process.poll() is None and outside(system, "payment-11"), "it waits, the same process")
        orders = [future.result() for future in placing]
    eventually(lambda: ended(system) == len(orders), "every order ends", within=60)

    assert system.rows("order", "SELECT count(*) FROM orders WHERE status = 'Completed'") == [(len(orders),)]
    kept = "SELECT count(*), count(DISTINCT order_id) FROM payment_transactions WHERE kind = 'charge' AND debit > 0"
    assert system.rows("payment", kept) == [(len(orders), len(orders))]
