"""One row of a sound system is spoiled, and the verification says which promise that breaks and for which order."""

from dataclasses import dataclass

import msgspec
import pytest

from harness.ground import Ground
from harness.story import MAIL, NAME, ORDERS
from orderflow.verification import PROMISES, Report, render


@dataclass(frozen=True)
class Spoiled:
    """One statement that spoils one row, and who is named for it: an order, unless ``thing`` is."""

    promise: str
    database: str
    statement: str
    order: str = ""
    thing: str = ""


RECORD = "INSERT INTO provider_records (provider, operation, key, subject, status, detail, amount, order_id, at)"
BOOKED = "INSERT INTO payment_transactions SELECT 'other', order_id, 'other', kind, account, debit, credit, reference,"
SECOND_END = "INSERT INTO outbox (event_id, event_type, topic, key, payload, headers, created_at, published_at)"


UNDOING = '[{"step": "payment", "status": "undoing"}]'
TWO_LAMPS = '[{"productId": "lamp", "quantity": 2}]'


def state(table: str, key: str, path: str, value: str, column: str = "order_id") -> str:
    """Change a state, and nothing of the columns beside it."""
    return f"UPDATE {table} SET data = json_set(data, '$.{path}', json('{value}')) WHERE {column} = '{key}'"


CASES = (
    Spoiled("order-accepted", "order", "DELETE FROM orders WHERE order_id = 'sold'", "sold"),
    Spoiled(
        "order-accepted", "order", "DELETE FROM outbox WHERE event_type = 'OrderCreated' AND key = 'posted'", "posted"
    ),
    Spoiled("key-answered", "order", "UPDATE idempotency_keys SET order_id = 'nobody'", "nobody"),
    Spoiled("key-answered", "order", "UPDATE idempotency_keys SET response = NULL", "shipped"),
    Spoiled("order-terminal", "order", state("orders", "sold", "saga.phase", '"forward"'), "sold"),
    Spoiled(
        "order-terminal",
        "order",
        state("orders", "rejected", "saga.steps", UNDOING),
        "rejected",
    ),
    Spoiled(
        "ended-once",
        "order",
        f"{SECOND_END} SELECT 'again', event_type, topic, key, payload, headers, created_at, published_at"
        " FROM outbox WHERE event_type = 'OrderCompleted' AND key = 'collected'",
        "collected",
    ),
    Spoiled(
        "ended-once",
        "order",
        "UPDATE audit_trail SET after = 'COMPLETED' WHERE key = 'shipped' AND after = 'PAID'",
        "shipped",
    ),
    Spoiled("audit-trail", "order", "DELETE FROM audit_trail WHERE key = 'shipped' AND after = 'PAID'", "shipped"),
    Spoiled(
        "audit-trail", "order", "UPDATE audit_trail SET before = 'PAID' WHERE key = 'short' AND after = 'PAID'", "short"
    ),
    Spoiled("audit-trail", "order", state("orders", "declined", "saga.status", '"FAILED"'), "declined"),
    Spoiled("audit-trail", "payment", "DELETE FROM audit_trail WHERE key = 'sold' AND after = 'charging'", "sold"),
    Spoiled("audit-trail", "inventory", "DELETE FROM audit_trail WHERE key = 'sold' AND after = 'consumed'", "sold"),
    Spoiled("audit-trail", "fulfillment", "DELETE FROM shipments WHERE order_id = 'posted'", "posted"),
    Spoiled("completed-as-planned", "payment", "DELETE FROM payments WHERE order_id = 'sold'", "sold"),
    Spoiled("completed-as-planned", "payment", state("payments", "collected", "amount", '"9.99"'), "collected"),
    Spoiled("completed-as-planned", "inventory", state("reservations", "shipped", "status", '"released"'), "shipped"),
    Spoiled(
        "completed-as-planned",
        "inventory",
        state("reservations", "sold", "items", TWO_LAMPS),
        "sold",
    ),
    Spoiled("completed-as-planned", "fulfillment", state("shipments", "posted", "status", '"cancelled"'), "posted"),
    Spoiled("cancelled-keeps-nothing", "payment", state("payments", "rejected", "status", '"succeeded"'), "rejected"),
    Spoiled("cancelled-keeps-nothing", "payment", state("payments", "withdrawn", "status", '"charging"'), "withdrawn"),
    Spoiled(
        "cancelled-keeps-nothing", "inventory", state("reservations", "rejected", "status", '"reserved"'), "rejected"
    ),
    Spoiled("cancelled-keeps-nothing", "fulfillment", state("shipments", "refused", "status", '"shipped"'), "refused"),
    Spoiled(
        "one-capture",
        "providers",
        f"{RECORD} SELECT provider, operation, 'other', 'other', status, detail, amount, order_id, at"
        " FROM provider_records WHERE operation = 'charge' AND order_id = 'sold'",
        "sold",
    ),
    Spoiled(
        "one-capture",
        "payment",
        f"{BOOKED} 'e', at FROM payment_transactions WHERE order_id = 'sold' AND account = 'provider-clearing'",
        "sold",
    ),
    Spoiled(
        "ledger-balances",
        "payment",
        "UPDATE payment_transactions SET debit = debit + 1 WHERE order_id = 'sold' AND debit > 0",
        "sold",
    ),
    Spoiled(
        "ledger-balances",
        "payment",
        "UPDATE payment_transactions SET account = 'elsewhere' WHERE order_id = 'sold' AND debit > 0",
        "sold",
    ),
    Spoiled("money-accounted", "payment", state("payments", "sold", "status", '"failed"'), "sold"),
    Spoiled(
        "money-accounted",
        "payment",
        "DELETE FROM payment_transactions WHERE order_id = 'short' AND kind = 'refund' AND debit > 0",
        "short",
    ),
    Spoiled(
        "card-agrees",
        "providers",
        "UPDATE provider_records SET amount = '1.00' WHERE operation = 'charge' AND order_id = 'late'",
        "late",
    ),
    Spoiled(
        "card-agrees",
        "providers",
        "DELETE FROM provider_records WHERE operation = 'refund' AND order_id = 'rejected'",
        "rejected",
    ),
    Spoiled(
        "card-agrees",
        "providers",
        f"{RECORD} VALUES ('card', 'charge', 'k', 'k', 'succeeded', '{{}}', '5.00', 'stranger', '2026-03-01 12:00:00')",
        "stranger",
    ),
    Spoiled("stock-adds-up", "inventory", state("stock", "lamp", "available", "99", column="product_id"), thing="lamp"),
    Spoiled("stock-held", "inventory", "DELETE FROM reservations WHERE order_id = 'sold'", thing="lamp"),
    Spoiled("stock-held", "inventory", "DELETE FROM stock", thing="lamp"),
    Spoiled("catalogue-current", "order", "UPDATE catalogue SET version = version - 1", thing="lamp"),
    Spoiled("catalogue-current", "order", "DELETE FROM catalogue", thing="lamp"),
    Spoiled(
        "one-shipment",
        "providers",
        f"{RECORD} SELECT provider, operation, 'other', 'other', status, detail, amount, order_id, at"
        " FROM provider_records WHERE operation = 'book' AND order_id = 'posted'",
        "posted",
    ),
    Spoiled(
        "carrier-agrees",
        "providers",
        "DELETE FROM provider_records WHERE operation = 'book' AND order_id = 'posted'",
        "posted",
    ),
    Spoiled("carrier-agrees", "fulfillment", state("shipments", "shipped", "status", '"failed"'), "shipped"),
    Spoiled("carrier-agrees", "fulfillment", state("shipments", "shipped", "tracking_number", '"X"'), "shipped"),
    Spoiled(
        "notified-once",
        "providers",
        f"{RECORD} VALUES ('email', 'deliver', 'k', 'k', 'delivered', '{{}}', NULL, 'sold', '2026-03-01 12:00:00')",
        "sold",
    ),
    Spoiled(
        "notified-once",
        "providers",
        "DELETE FROM provider_records WHERE operation = 'deliver' AND order_id = 'declined' AND rowid ="
        " (SELECT min(rowid) FROM provider_records WHERE operation = 'deliver' AND order_id = 'declined')",
        "declined",
    ),
    Spoiled("windows-add-up", "analytics", "UPDATE windows SET orders = orders + 1", thing="2026-03-01T12:00:00Z"),
    Spoiled(
        "windows-add-up",
        "analytics",
        "UPDATE business_events SET at = '2026-03-01 13:00:00.000000'"
        " WHERE order_id = 'sold' AND event_type = 'OrderCreated'",
        thing="2026-03-01T13:00:00Z",
    ),
    Spoiled(
        "facts-counted",
        "analytics",
        "DELETE FROM business_events WHERE order_id = 'sold' AND event_type = 'OrderCompleted'",
        "sold",
    ),
    Spoiled(
        "analytics-agrees",
        "analytics",
        "UPDATE business_events SET amount = 1 WHERE order_id = 'sold' AND event_type = 'PaymentSucceeded'",
        "sold",
    ),
    Spoiled(
        "analytics-agrees",
        "analytics",
        "UPDATE business_events SET event_type = 'OrderCancelled' WHERE order_id = 'sold'"
        " AND event_type = 'OrderCompleted'",
        "sold",
    ),
    Spoiled(
        "outbox-published",
        "payment",
        "UPDATE outbox SET published_at = NULL WHERE key = 'sold' AND event_type = 'PaymentSucceeded'",
        "sold",
    ),
    Spoiled(
        "message-processed",
        "inventory",
        "DELETE FROM processed_events WHERE key = 'shipped' AND event_type = 'OrderCompleted'",
        "shipped",
    ),
    Spoiled(
        "message-processed",
        "order",
        "UPDATE processed_events SET hash = 'other' WHERE key = 'sold' AND event_type = 'PaymentSucceeded'",
        "sold",
    ),
    Spoiled(
        "message-sent", "payment", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'PaymentSucceeded'", "sold"
    ),
    Spoiled("letter-settled", "payment", "UPDATE dead_letters SET status = 'open'", "shipped"),
    Spoiled("letter-settled", "payment", "UPDATE dead_letters SET status = 'replayed'", "shipped"),
    Spoiled(
        "letter-settled", "payment", "UPDATE processed_events SET status = 'dead' WHERE status = 'discarded'", "shipped"
    ),
    Spoiled("letter-settled", "payment", "UPDATE audit_trail SET actor = NULL WHERE after = 'discarded'", "shipped"),
    Spoiled(
        "letter-settled",
        "inventory",
        "UPDATE processed_events SET status = 'parked' WHERE key = 'sold' AND event_type = 'OrderCompleted'",
        "sold",
    ),
    Spoiled(
        "letter-settled",
        "payment",
        "INSERT INTO letter_requests SELECT id, 'replay', 0, 'ada', '', created_at, created_at, 0 FROM dead_letters",
        "shipped",
    ),
    Spoiled(
        "offset-recorded",
        "payment",
        "UPDATE consumed_offsets SET \"offset\" = 0 WHERE topic = 'payment-commands' AND partition = 1",
        thing="payment-commands[1]",
    ),
    Spoiled("task-settled", "payment", "UPDATE tasks SET status = 'open' WHERE key = 'sold'", "sold"),
    Spoiled(
        "outcome-recorded", "payment", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'ChargeAnswered'", "sold"
    ),
    Spoiled("outcome-recorded", "payment", "UPDATE tasks SET status = 'ended' WHERE key = 'sold'", "sold"),
    Spoiled("state-readable", "payment", "UPDATE payments SET captured = 0 WHERE order_id = 'sold'", "sold"),
    Spoiled("state-readable", "inventory", "UPDATE reservations SET data = '{' WHERE order_id = 'sold'", "sold"),
    Spoiled("state-readable", "order", "UPDATE orders SET state_version = 9 WHERE order_id = 'sold'", "sold"),
    Spoiled(
        "decision-replays",
        "order",
        "UPDATE decisions SET decision = CAST(replace(CAST(decision AS TEXT), 'applied', 'late') AS BLOB)"
        " WHERE id = (SELECT min(id) FROM decisions WHERE key = 'sold')",
        "sold",
    ),
    Spoiled(
        "decision-replays",
        "inventory",
        "UPDATE decisions SET state = CAST('{' AS BLOB) WHERE key = 'sold' AND state IS NOT NULL",
        "sold",
    ),
)


def violations(report: Report, promise: str) -> list[tuple[str, str]]:
    """Whom the report names under ``promise``: orders and other things."""
    found = next(kept for kept in report.promises if kept.name == promise)
    return [(violation.order_id or "", violation.subject or "") for violation in found.violations]


@pytest.mark.parametrize("spoiled", CASES, ids=[f"{case.promise}-{number}" for number, case in enumerate(CASES)])
def test_a_spoiled_row_is_found_and_named(ground: Ground, spoiled: Spoiled) -> None:
    assert ground.spoil(spoiled.database, spoiled.statement) == 1
    report = ground.verify()
    assert not report.ok
    assert (spoiled.order, spoiled.thing) in violations(report, spoiled.promise)
    text = render(report)
    assert f"FAIL  {spoiled.promise}" in text
    for personal in (NAME, MAIL):
        assert personal not in text
        assert personal.encode() not in msgspec.json.encode(report)


def test_every_promise_is_spoiled_above() -> None:
    assert {case.promise for case in CASES} == set(PROMISES)


def test_what_was_not_spoiled_is_kept(lived: Ground) -> None:
    report = lived.verify()
    assert [promise for promise in report.promises if not promise.ok] == []
    assert report.ok
    assert report.orders == len(ORDERS)
    assert report.problems == ()
    assert all(promise.checked for promise in report.promises)
