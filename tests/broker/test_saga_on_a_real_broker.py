"""The saga from end to end over a real Kafka, with every context on SQLite and then on PostgreSQL."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.broker import Sent, read_all, send
from harness.system import System, eventually, everything
from orderflow.contracts.topics import INVENTORY_COMMANDS, PAYMENT_COMMANDS
from orderflow.spec.reading import parse_resource
from servers.postgres import url_of_contexts

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata:
  name: test
spec:
  database:
    {database}
  inventory:
    reservationSeconds: 2
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 100000}}
    - {{id: sku-2, name: Cup, price: "4.50", stock: 100000}}
    - {{id: sku-few, name: Lamp, price: "60.00", stock: 3}}
    - {{id: sku-last, name: Vase, price: "90.00", stock: 1}}
  simulation:
    carrier: {{latencySeconds: [0.05, 0.2], errorRate: 0.15}}
"""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def system(request: pytest.FixtureRequest, kafka_address: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All six contexts, one worker each, with their read APIs."""
    yield from _running(request, request.param, kafka_address, tmp_path_factory.mktemp(request.param))


def _running(request: pytest.FixtureRequest, database: str, broker: str, folder: Path) -> Iterator[System]:
    line = "durability: normal"
    if database == "postgres":
        postgres = request.getfixturevalue("postgres")
        line = f"url: {url_of_contexts(postgres)}"
    system = System(parse_resource(RESOURCE.format(database=line), "test.yaml"), folder, broker)
    try:
        system.start(*everything(system.deployment.resource))
        eventually(lambda: len(system.get("/api/products")[1]["products"]) == 4, "the catalogue is there")
        yield system
    finally:
        system.stop()


def statuses(system: System, order_id: str) -> list[str]:
    """Return the canonical statuses that the order went through."""
    query = "SELECT after FROM audit_trail WHERE key = :order_id ORDER BY id"
    return [row[0] for row in system.rows("order", query, order_id=order_id)]


@pytest.mark.parametrize(
    ("flow", "end", "through"),
    [
        ("order-to-delivery", "Completed", ["PENDING", "PAID", "RESERVED", "SHIPPED", "COMPLETED"]),
        ("payment-first", "Completed", ["PENDING", "PAID", "RESERVED", "COMPLETED"]),
        ("reserve-first", "FULFILLED", ["PENDING", "RESERVED", "PAID", "COMPLETED"]),
        ("ship-only", "Shipped", ["PENDING", "SHIPPED", "COMPLETED"]),
    ],
)
def test_each_flow_ends_well_through_its_steps(system: System, flow: str, end: str, through: list[str]) -> None:
    order_id = system.place(flow, ("sku-1", 2), ("sku-2", 1))
    order = system.end_of(order_id)
    assert order["status"] == end
    assert statuses(system, order_id) == through
    assert order["total"] == "54.50"


def test_a_shipped_order_shows_its_carrier_and_tracking_number(system: System) -> None:
    order = system.end_of(system.place("order-to-delivery", ("sku-1", 1)))
    shipment = order["fulfillment"]
    assert shipment["carrier"]
    assert shipment["trackingNumber"]
    assert shipment["shippedAt"]
    assert not shipment.get("errorMessage")


def test_a_declined_payment_cancels_the_order_and_touches_no_stock(system: System) -> None:
    order_id = system.place("order-to-delivery", ("sku-1", 1), customer="customer-declined")
    order = system.end_of(order_id)
    assert order["status"] == "Cancelled"
    assert system.rows("inventory", "SELECT * FROM reservations WHERE order_id = :id", id=order_id) == []


def test_a_declined_payment_after_a_reservation_gives_the_stock_back(system: System) -> None:
    order_id = system.place("reserve-first", ("sku-1", 3), customer="customer-declined")
    assert system.end_of(order_id)["status"] == "CANCELLED"
    [(status,)] = system.rows("inventory", "SELECT status FROM reservations WHERE order_id = :id", id=order_id)
    assert status == "released"


def test_too_little_stock_names_what_is_short_and_refunds_the_payment(system: System) -> None:
    order_id = system.place("payment-first", ("sku-few", 50), ("sku-1", 1))
    assert system.end_of(order_id)["status"] == "Cancelled"
    [[payload]] = system.rows(
        "inventory", "SELECT payload FROM outbox WHERE key = :id AND event_type = 'InventoryFailed'", id=order_id
    )
    failed = json.loads(bytes(payload))["failedItems"]
    assert failed == [{"productId": "sku-few", "requestedQuantity": 50, "availableQuantity": 3}]
    sums = "SELECT captured, refunded FROM payments WHERE order_id = :id"
    [(captured, refunded)] = system.rows("payment", sums, id=order_id)
    assert captured == refunded
    assert captured > 0


def test_a_rejected_shipment_undoes_reservation_and_payment(system: System) -> None:
    order_id = system.place("order-to-delivery", ("sku-1", 1), customer="carrier-rejects")
    order = system.end_of(order_id)
    assert order["status"] == "Cancelled"
    assert order["fulfillment"]["errorMessage"]
    assert statuses(system, order_id)[-2:] == ["COMPENSATING", "CANCELLED"]


def test_a_rejected_shipment_leaves_a_ship_only_order_failed(system: System) -> None:
    order_id = system.place("ship-only", ("sku-1", 1), customer="carrier-rejects")
    assert system.end_of(order_id)["status"] == "Failed"


def test_messages_delivered_twice_change_nothing(system: System) -> None:
    order_id = system.place("payment-first", ("sku-2", 1))
    system.end_of(order_id)
    address, prefix = system.deployment.broker, system.prefix
    commands = [
        record
        for topic in (PAYMENT_COMMANDS, INVENTORY_COMMANDS)
        for record in read_all(address, prefix + topic)
        if record.key == order_id
    ]
    assert len(commands) >= 3
    before = _counted(system, "duplicate")
    send(address, commands)
    eventually(lambda: _counted(system, "duplicate") >= before + len(commands), "the copies were met")
    assert len(system.rows("payment", "SELECT id FROM payment_transactions WHERE order_id = :id", id=order_id)) == 2
    assert system.order(order_id)["status"] == "Completed"


def _counted(system: System, outcome: str) -> float:
    total = 0.0
    for name in ("payment-0", "inventory-0"):
        for line in _metrics(system, name):
            if line.startswith("orderflow_messages_processed_total") and f'outcome="{outcome}"' in line:
                total += float(line.rsplit(" ", 1)[1])
    return total


def _metrics(system: System, name: str) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{system.deployment.ports[name]}/metrics", timeout=5) as answer:
        content: bytes = answer.read()
    return content.decode().splitlines()


def test_of_many_who_want_the_last_unit_exactly_one_gets_it(system: System) -> None:
    with ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(lambda _: system.place("reserve-first", ("sku-last", 1)), range(8)))
    ends = sorted(system.end_of(order_id)["status"] for order_id in orders)
    assert ends == ["CANCELLED"] * 7 + ["FULFILLED"]
    stock = system.rows("inventory", "SELECT available, reserved, consumed FROM stock WHERE product_id = 'sku-last'")
    eventually(
        lambda: (
            system.rows("inventory", "SELECT available, reserved, consumed FROM stock WHERE product_id = 'sku-last'")
            == [(0, 0, 1)]
        ),
        f"the unit is consumed, not {stock}",
    )


def test_an_expiring_reservation_is_for_the_order_to_decide(system: System) -> None:
    with system.frozen("payment-0"):
        order_id = system.place("reserve-first", ("sku-1", 1))
        expiring = "SELECT event_id FROM outbox WHERE key = :id AND event_type = 'ReservationExpiring'"
        eventually(lambda: system.rows("inventory", expiring, id=order_id), "the reservation expires")
        confirm = "SELECT event_id FROM outbox WHERE key = :id AND event_type = 'ConfirmReservation'"
        eventually(lambda: system.rows("order", confirm, id=order_id), "the order still wants it")
        held = "SELECT status FROM reservations WHERE order_id = :id"
        assert system.rows("inventory", held, id=order_id) == [("reserved",)]
    assert system.end_of(order_id)["status"] == "FULFILLED"


@pytest.mark.parametrize(
    ("value", "headers", "cause"),
    [
        (b"\xff not json", {}, "undecodable"),
        (b'{"eventType":"NeverHeardOf","eventId":"poison-2","orderId":"o"}', {}, "unknown-type"),
        (
            b'{"eventType":"RefundPayment","schemaVersion":"9.0","eventId":"poison-3","orderId":"o"}',
            {},
            "unknown-major",
        ),
    ],
)
def test_a_bad_message_becomes_a_dead_letter_and_its_partition_goes_on(
    system: System, value: bytes, headers: dict[str, str], cause: str
) -> None:
    order_id = system.place("payment-first", ("sku-2", 1), customer=f"behind-{cause}")
    topic = system.prefix + PAYMENT_COMMANDS
    send(system.deployment.broker, [Sent(topic, f"bad-{cause}", value, headers)])
    letters = "SELECT cause, raw FROM dead_letters WHERE key = :key"
    found = eventually(lambda: system.rows("payment", letters, key=f"bad-{cause}"), "the dead letter is stored")
    assert [(row[0], bytes(row[1])) for row in found] == [(cause, value)]
    copies = eventually(
        lambda: [r for r in read_all(system.deployment.broker, f"{topic}-dlq") if r.key == f"bad-{cause}"],
        "its copy is on the dead-letter topic",
    )
    assert copies[0].headers["dlq_cause"] == cause
    assert system.end_of(order_id)["status"] == "Completed"
    assert system.end_of(system.place("payment-first", ("sku-2", 1)))["status"] == "Completed"


def test_the_timeline_tells_every_transition_of_every_context(system: System) -> None:
    order_id = system.place("order-to-delivery", ("sku-1", 1))
    system.end_of(order_id)

    def contexts() -> set[str]:
        _, timeline = system.get(f"/api/orders/{order_id}/timeline")
        assert timeline.get("incomplete", []) == []
        return {entry["context"] for entry in timeline["entries"]}

    eventually(lambda: contexts() >= {"order", "payment", "inventory", "fulfillment"}, "all contexts have told")
