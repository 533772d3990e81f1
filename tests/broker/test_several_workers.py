"""Several workers of one context share its partitions; one is killed and one is added while orders are under way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.system import ENDED, System, eventually, everything
from orderflow.spec.reading import parse_resource
from servers.postgres import url_of_contexts

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata:
  name: several
spec:
  database:
    {database}
  broker:
    partitions: 6
  processors:
    payment: {{replicas: 3}}
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 100000}}
"""
ORDERS = 200


@pytest.fixture(params=["sqlite", "postgres"])
def system(request: pytest.FixtureRequest, kafka_address: str, tmp_path: Path) -> Iterator[System]:
    line = "durability: normal"
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        line = f"url: {url_of_contexts(postgres)}"
    system = System(parse_resource(RESOURCE.format(database=line), "several.yaml"), tmp_path, kafka_address)
    wanted = {"notification-api", "analytics-api", "fulfillment-api", "payment-api", "inventory-api", "fulfillment-0"}
    try:
        system.start(*(name for name in everything(system.deployment.resource) if name not in wanted))
        eventually(lambda: system.get("/api/products")[1]["products"], "the catalogue is there")
        yield system
    finally:
        system.stop()


def owners(system: System) -> set[str]:
    """Return the workers that own partitions of the payment context's command topic."""
    query = "SELECT owner FROM consumed_offsets WHERE topic = 'payment-commands' AND owner IS NOT NULL"
    return {str(row[0]).partition("/")[0] for row in system.rows("payment", query)}


def ended(system: System) -> int:
    words = ", ".join(f"'{word}'" for word in sorted(ENDED))
    [(number,)] = system.rows("order", f"SELECT count(*) FROM orders WHERE status IN ({words})")
    return int(number)


def test_orders_survive_a_killed_worker_and_an_added_one(system: System) -> None:
    eventually(lambda: owners(system) == {"payment-0", "payment-1", "payment-2"}, "three workers share the partitions")
    with ThreadPoolExecutor(8) as pool:
        placing = [pool.submit(system.place, "payment-first", ("sku-1", 1)) for _ in range(ORDERS)]
        eventually(lambda: ended(system) >= 20, "orders come to their end")
        in_flight = ORDERS - ended(system)
        system.kill("payment-1")
        assert in_flight > 0, "the kill came too late to prove anything"
        system.add_worker("payment-3")
        orders = [future.result() for future in placing]
    eventually(lambda: ended(system) == ORDERS, f"all {ORDERS} orders end", within=90)
    assert len(set(orders)) == ORDERS
    others = {"payment-0", "payment-2", "payment-3"}
    try:
        eventually(lambda: owners(system) == others, "the others took its partitions", within=90)
    except AssertionError as late:
        raise AssertionError(f"{late}: {owners(system)} own them; {system.log('payment-3')[-3000:]}") from late

    assert system.rows("order", "SELECT count(*) FROM orders WHERE status = 'Completed'") == [(ORDERS,)]
    kept = "SELECT count(*), count(DISTINCT order_id) FROM payment_transactions WHERE kind = 'charge' AND debit > 0"
    assert system.rows("payment", kept) == [(ORDERS, ORDERS)]
    stock = system.rows("inventory", "SELECT available, reserved, consumed FROM stock WHERE product_id = 'sku-1'")
    eventually(
        lambda: (
            system.rows("inventory", "SELECT available, reserved, consumed FROM stock WHERE product_id = 'sku-1'")
            == [(100_000 - ORDERS, 0, ORDERS)]
        ),
        f"the stock is consumed, not {stock}",
    )
