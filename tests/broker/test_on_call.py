"""What the person on call does to a running system, over a real Kafka, on SQLite and then on PostgreSQL."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from harness.broker import Sent, send
from harness.system import System, eventually
from orderflow.cli import main
from orderflow.contracts import codec
from orderflow.contracts.commands import RefundPayment
from orderflow.contracts.money import ZERO
from orderflow.contracts.topics import PAYMENT_COMMANDS
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
  deadLetters:
    automatic:
      - {{cause: refused, attempts: 1, firstWaitSeconds: 0.5}}
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 100000}}
    - {{id: sku-2, name: Vase, price: "66.60", stock: 100000}}
"""
POISON = {
    "sqlite": "CREATE TRIGGER poison BEFORE INSERT ON payments WHEN NEW.amount = 66.6"
    " BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
    "postgresql": "ALTER TABLE payments ADD CONSTRAINT poison CHECK (amount <> 66.60)",
}
REMEDY = {"sqlite": "DROP TRIGGER poison", "postgresql": "ALTER TABLE payments DROP CONSTRAINT poison"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def system(
    request: pytest.FixtureRequest, kafka_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """All that an order under ``payment-first`` passes through."""
    line = "durability: normal"
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        line = f"url: {url_of_contexts(postgres)}"
    resource = parse_resource(RESOURCE.format(database=line), "test.yaml")
    system = System(resource, tmp_path_factory.mktemp(request.param), kafka_address)
    try:
        system.start(
            "order-0", "payment-0", "inventory-0", "fulfillment-0", "notification-0", "analytics-0", "order-api"
        )
        eventually(lambda: len(system.get("/api/products")[1]["products"]) == 2, "the catalogue is there")
        yield system
    finally:
        system.stop()


def orderflow(system: System, *arguments: str) -> tuple[int, str]:
    """Run a command as somebody on call does; return its exit status and what it printed."""
    done = CliRunner().invoke(main, [*arguments, "--deployment", str(system.file)])
    return done.exit_code, done.output


def told(system: System, *arguments: str) -> Any:
    """What a command prints as JSON."""
    _, printed = orderflow(system, *arguments, "--json")
    return json.loads(printed)


def change(system: System, statements: dict[str, str]) -> None:
    """Change the tables of the payment context."""
    engine = system.engine("payment")
    with engine.begin() as connection:
        connection.execute(text(statements[engine.dialect.name]))
    engine.dispose()


def verified(system: System) -> None:
    """Wait until every promise is kept by a system at rest."""

    def ok() -> bool:
        return orderflow(system, "verify")[0] == 0

    try:
        eventually(ok, "every promise is kept")
    except AssertionError as broken:
        raise AssertionError(f"{broken}\n{orderflow(system, 'verify')[1]}") from None


def deadline_of(system: System, order_id: str) -> str | None:
    """The name of the timer that waits for the answer to an order's request."""
    timers = told(system, "tasks", "list", "--key", order_id, "--type", "StepDeadline")
    return next((task["name"] for task in timers), None)


def waiting_since_the_poison(system: System) -> tuple[str, dict[str, Any]]:
    """Place an order that payment cannot store; return it, and its letter when two asks wait behind that."""
    change(system, POISON)
    order_id = system.place("payment-first", ("sku-2", 1))
    name = ["--context", "payment", "--key", order_id]
    eventually(lambda: told(system, "dlq", "list", "--each", *name), "the order is stopped")
    for asked in (1, 2):
        # Nobody has to wait for the deadline: it is made due.
        deadline = eventually(lambda: deadline_of(system, order_id), "a deadline stands")
        assert orderflow(system, "tasks", "retry", deadline, "--reason", "ask again")[0] == 0
        eventually(lambda: told(system, "dlq", "list", *name)[0]["parked"] == asked, f"{asked} are parked")  # noqa: B023
    (letter,) = told(system, "dlq", "list", "--each", *name)
    return order_id, letter


def test_a_stopped_order_is_shown_replayed_once_the_cause_is_gone_and_completes(system: System) -> None:
    order_id, letter = waiting_since_the_poison(system)
    assert (letter["cause"], letter["eventType"], letter["parked"]) == ("data-error", "OrderPaymentRequested", 2)

    status, shown = orderflow(system, "dlq", "show", letter["name"])
    assert status == 0
    assert order_id in shown
    assert shown.count("\nbehind ") == 2

    why = ("--reason", "is it mended?", "--by", "ada")
    status, printed = orderflow(system, "dlq", "replay", letter["name"], *why)
    assert status == 1
    assert "failed again" in printed
    assert system.order(order_id)["status"] == "Pending"

    change(system, REMEDY)
    status, printed = orderflow(system, "dlq", "replay", "--key", order_id, "--dry-run", *why)
    assert (status, "1 to be replayed" in printed) == (0, True)
    status, printed = orderflow(system, "dlq", "replay", "--key", order_id, *why)
    assert (status, "1 replayed" in printed) == (0, True), printed

    assert system.end_of(order_id)["status"] == "Completed"
    query = "SELECT event_type, status FROM processed_events WHERE key = :id AND topic = 'payment-commands'"
    asks = [status for kind, status in system.rows("payment", query, id=order_id) if kind == "OrderPaymentRequested"]
    assert sorted(asks) == ["applied", "repeated", "repeated"]
    acts = "SELECT actor, after FROM audit_trail WHERE key = :id AND step = 'dead-letter' ORDER BY id"
    assert system.rows("payment", acts, id=order_id) == [
        ("ada", "replay asked for"),
        ("ada", "open"),
        ("ada", "replay asked for"),
        ("ada", "replayed"),
    ]
    verified(system)


def test_what_is_published_once_more_is_known_to_all_and_changes_nothing(system: System) -> None:
    order_id = system.place("payment-first", ("sku-1", 1))
    assert system.end_of(order_id)["status"] == "Completed"
    verified(system)
    before = [system.rows(name, "SELECT count(*) FROM processed_events") for name in ("order", "payment", "inventory")]
    status, printed = orderflow(system, "outbox", "republish", "--key", order_id, "--reason", "somebody lost them")
    assert status == 0, printed
    assert "published once more" in printed
    after = [system.rows(name, "SELECT count(*) FROM processed_events") for name in ("order", "payment", "inventory")]
    assert before == after
    assert told(system, "outbox", "list") == []
    verified(system)


def test_what_a_policy_has_tried_in_vain_is_discarded_by_name(system: System) -> None:
    order_id = system.place("payment-first", ("sku-1", 1))
    assert system.end_of(order_id)["status"] == "Completed"
    refund = RefundPayment(
        event_id=f"by-hand-{order_id}",
        order_id=order_id,
        request_id="by-hand",
        amount=ZERO,
        reason="a slip of the pen",
        requested_at=datetime.now(UTC),
        payment_id="not-its-payment",
    )
    send(system.deployment.broker, [Sent(system.prefix + PAYMENT_COMMANDS, order_id, codec.encode(refund), {})])
    chosen = ("dlq", "list", "--each", "--context", "payment", "--cause", "refused")

    def tried() -> Any:
        return [letter for letter in told(system, *chosen) if letter.get("replays") == 1]

    (letter,) = eventually(tried, "the policy has tried it")
    acts = "SELECT DISTINCT actor FROM audit_trail WHERE event_id = :id AND actor IS NOT NULL"
    assert system.rows("payment", acts, id=f"by-hand-{order_id}") == [("orderflow",)]
    status, printed = orderflow(system, "dlq", "discard", letter["name"], "--reason", "sent by mistake", "--by", "ada")
    assert (status, "1 discarded" in printed) == (0, True), printed
    assert system.order(order_id)["status"] == "Completed"
    verified(system)
