"""A replay over a real Kafka, by the running workers, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.broker import Sent, send
from harness.system import System, eventually
from orderflow.contracts.topics import PAYMENT_COMMANDS
from orderflow.replaying.outcome import Outcome, render
from orderflow.replaying.requesting import Wanted, replayed
from orderflow.runtime.broker import partition_of
from orderflow.spec.reading import parse_resource
from servers.postgres import url_of_contexts

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata:
  name: replayed
spec:
  database:
    {database}
  broker:
    partitions: 3
  processors:
    payment: {{replicas: 2}}
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 100000}}
"""
WORKERS = ("order-0", "payment-0", "payment-1", "inventory-0")
STRAY = b"""{"eventType":"RefundPayment","eventId":"stray","orderId":"nobody","requestId":"r","amount":"1.00",
"reason":"nobody knows it","requestedAt":"2026-03-01T12:00:00Z"}"""


@pytest.fixture(params=["sqlite", "postgres"])
def system(request: pytest.FixtureRequest, kafka_address: str, tmp_path: Path) -> Iterator[System]:
    line = "durability: normal"
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        line = f"url: {url_of_contexts(postgres)}"
    system = System(parse_resource(RESOURCE.format(database=line), "replayed.yaml"), tmp_path, kafka_address)
    try:
        system.start("order-api", *WORKERS)
        eventually(lambda: system.get("/api/products")[1]["products"], "the catalogue is there")
        yield system
    finally:
        system.stop()


def replay(system: System, context: str, *, applies: bool = False) -> Outcome:
    wanted = Wanted(context=context, topic=None, since=None, until=None, applies=applies, rate=2_000)
    return replayed(system.deployment, wanted, patience=60, tell=lambda _parts: None)


def skip(system: System, *workers: str) -> None:
    """Have the ledger pass a message that nobody has decided, while the context's workers are down."""
    for worker in workers:
        system.processes[worker].terminate()
        system.processes.pop(worker).wait(30)
    send(system.deployment.broker, [Sent(system.prefix + PAYMENT_COMMANDS, "nobody", STRAY, {})])
    engine = system.engine("payment")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'UPDATE consumed_offsets SET "offset" = "offset" + 1, last_event_id = \'stray\''
            f" WHERE topic = '{PAYMENT_COMMANDS}' AND partition = {partition_of('nobody', 3)}"
        )
    engine.dispose()
    system.start(*workers)


def test_every_message_is_as_recorded_and_a_lost_one_is_found_and_decided(system: System) -> None:
    orders = [system.place("payment-first", ("sku-1", 1)) for _ in range(12)]
    orders.append(system.place("payment-first", ("sku-1", 1), customer="customer-declined"))
    for order_id in orders:
        system.end_of(order_id)

    for context in ("order", "payment", "inventory"):
        outcome = replay(system, context)
        assert outcome.ok, render(outcome)
        assert outcome.total("same") > 10
        assert outcome.total("decided_again") == outcome.total("same")
        assert outcome.total("outputs") > 10

    skip(system, "payment-0", "payment-1")
    found = replay(system, "payment")
    assert not found.ok
    assert (found.total("unknown"), found.total("unlike")) == (1, 0), render(found)
    assert system.rows("payment", "SELECT status FROM payments WHERE order_id = 'nobody'") == []

    applied = replay(system, "payment", applies=True)
    assert applied.ok
    assert applied.total("applied") == 1
    assert system.rows("payment", "SELECT status FROM payments WHERE order_id = 'nobody'") == [("refused",)]
    answered = "SELECT published_at IS NOT NULL FROM outbox WHERE key = 'nobody'"
    eventually(lambda: [bool(row[0]) for row in system.rows("payment", answered)] == [True], "the answer is published")
    assert replay(system, "payment").total("same") == found.total("read")
    # Live work went on, and goes on.
    assert system.end_of(system.place("payment-first", ("sku-1", 1)))["status"] == "Completed"
