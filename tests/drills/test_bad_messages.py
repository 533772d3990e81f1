"""Messages that cannot be decided, and one that kills whoever decides it: each costs one order, never a partition."""

import os
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from harness.broker import Sent, send
from harness.deadly import DEADLY
from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from orderflow.contracts.topics import TOPICS
from orderflow.local.processes import PROGRAM
from orderflow.spec.resource import CONTEXTS

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

FLOW: dict[str, Any] = {
    "defaultFlow": "impatient",
    "flows": [
        {
            "name": "impatient",
            "steps": [
                {"name": "payment", "deadlineSeconds": 20, "asks": 2},
                {"name": "inventory", "deadlineSeconds": 10, "asks": 2},
                {"name": "fulfillment", "deadlineSeconds": 30},
            ],
        }
    ],
}
"""Orders that give a step up after half a minute: nobody waits for the five minutes of the defaults."""
POISONED = 20
POISON = (
    # The same bytes again are a copy, whatever their key.
    b"no JSON at all \xff %d",
    b'{"eventType":"NeverHeardOf","eventId":"poison-%d","orderId":"o"}',
    b'{"eventType":"ReleaseInventory","schemaVersion":"9.0","eventId":"poison-%d","orderId":"o"}',
    b'{"eventType":"OrderInventoryRequested","eventId":"poison-%d","orderId":"o","items":7}',
)
LETTERS = "SELECT count(*) FROM dead_letters"
RESERVED = "SELECT key FROM processed_events WHERE event_type = 'OrderInventoryRequested' AND status = 'applied'"
PENDING = "SELECT order_id FROM orders WHERE canonical = 'PENDING' ORDER BY created_at DESC LIMIT :number"


def test_poison_messages_stop_the_orders_that_they_name_alone(stage: Stage) -> None:
    with stage("poison", {**UNHURRIED, **FLOW}) as drill:
        with drill.ordering():
            drill.enough_in_flight()
            poisoned = [order for (order,) in drill.books.rows("order", PENDING, number=POISONED)]
            assert len(poisoned) == POISONED
            broker = drill.system.deployment.broker
            send(broker, [Sent("inventory-commands", order, of(number), {}) for number, order in enumerate(poisoned)])
            send(broker, [Sent(topic, "nobody", of(99 + number), {}) for number, topic in enumerate(TOPICS)])
            wanted = POISONED + len(TOPICS)
            eventually(lambda: letters(drill) >= wanted, f"{wanted} messages are dead letters", within=60)
            before, since = drill.books.ledger("inventory"), time.monotonic()
            drill.moves_again("inventory", "inventory", since, before)
        drill.all_end()
        ends = drill.books.orders()
        given_up = {order for order in poisoned if ends[order] == "cancelled"}
        faster = {order for (order,) in drill.books.rows("inventory", RESERVED)} & set(poisoned)
        drill.saw(poisoned_orders=POISONED, dead_letters=letters(drill), faster_than_the_poison=len(faster))
        assert len(given_up) > POISONED / 2
        assert given_up == set(poisoned) - faster, (
            "an order went on behind its dead letter, or was given up without one"
        )


def of(number: int) -> bytes:
    return POISON[number % len(POISON)].replace(b"%d", str(number).encode())


def letters(drill: Drill) -> int:
    return sum(int(drill.books.rows(context, LETTERS)[0][0]) for context in CONTEXTS)


def test_a_message_that_kills_its_process_becomes_a_dead_letter(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its processes find the deadly payment where this file finds it.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    program = replace(PROGRAM, main="harness.deadly:main")
    with stage("killer-message", {**UNHURRIED, **FLOW}, program=program) as drill:
        with drill.ordering() as customers:
            drill.enough_in_flight()
            before, since = drill.books.ledger("payment"), time.monotonic()
            order = customers.place(DEADLY)
            eventually(lambda: dead(drill, order), "the message is a dead letter", within=180)
            drill.recovered("the message is a dead letter", since)
            drill.moves_again("payment", "payment", since, before)
        eventually(lambda: drill.books.orders()[order] == "cancelled", "its order was given up", within=300)
        [(cause, status)] = dead(drill, order)
        restarts = drill.system.process("payment-0").restarts
        drill.saw(processes_killed=restarts, dead_letter=f"{cause}, {status} by the compensation")
        assert (cause, status) == ("kills-the-process", "superseded")
        # Once in a batch, where nobody knows which message it was; then twice alone, with the attempt recorded first.
        assert restarts == 3


def dead(drill: Drill, order: str) -> list[tuple[str, str]]:
    found = drill.books.rows("payment", "SELECT cause, status FROM dead_letters WHERE key = :key", key=order)
    return [(str(cause), str(status)) for cause, status in found]
