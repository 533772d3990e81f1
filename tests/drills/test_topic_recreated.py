"""A topic is deleted with messages that nobody has read, and made anew: what was lost is asked for again.

What stands in outboxes is published once more by the person on call; whoever has had it already drops it.
"""

import asyncio
import json
import os
import signal
import time
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from harness.books import Place
from harness.broker import create_topics
from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from harness.whole import state_of
from orderflow.runtime.ledger import Partition
from orderflow.spec.deployment import Deployment

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

TOPIC, READER = "payment-commands", "payment"
UNREAD = 50
SENT_THERE = (
    ("order", "OrderPaymentRequested"),
    ("order", "RefundPayment"),
    ("payment", "ChargeAnswered"),
    ("payment", "RefundAnswered"),
)
STARTS_OVER = "starting at the earliest message"


def test_a_topic_is_recreated(stage: Stage) -> None:
    with stage("topic-recreated", UNHURRIED) as drill:
        began = datetime.now(UTC)
        with drill.ordering():
            drill.enough_in_flight()
            pid, unread = freeze_until_messages_wait(drill)
            deployment = drill.system.deployment
            held = messages_in(deployment)
            delete(deployment.broker, TOPIC)
            eventually(lambda: made_anew(deployment, held), f"{TOPIC} is there again")
            os.kill(pid, signal.SIGCONT)
            since = time.monotonic()
            eventually(lambda: drill.system.said(f"{READER}-0", STARTS_OVER), "the new topic is noticed", within=120)
            drill.recovered("the new topic is read", since)
            drill.moves_again(
                "and all its partitions", READER, since, dict.fromkeys(places(deployment), Place(-1, None))
            )
        drill.saw(messages_deleted_unread=unread, published_once_more=republish(drill, began))


def freeze_until_messages_wait(drill: Drill) -> tuple[int, int]:
    """Freeze the reader until many messages wait for it; return its process id and how many do."""
    pid = drill.system.pid(f"{READER}-0")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) == "T", f"{pid} is frozen")
    deployment = drill.system.deployment

    def unread() -> int:
        return messages_in(deployment) - sum(
            drill.books.ledger(READER)[place].offset + 1 for place in places(deployment)
        )

    eventually(lambda: unread() >= UNREAD, f"{UNREAD} messages wait for the reader", within=20)
    return pid, unread()


def places(deployment: Deployment) -> list[Partition]:
    return [(TOPIC, number) for number in range(deployment.partitions)]


def messages_in(deployment: Deployment) -> int:
    """Return how many messages the topic has ever taken."""

    async def ask() -> int:
        asker = AIOKafkaConsumer(bootstrap_servers=deployment.broker)
        await asker.start()
        try:
            return sum((await asker.end_offsets([TopicPartition(*place) for place in places(deployment)])).values())
        finally:
            await asker.stop()

    return asyncio.run(ask())


def delete(broker: str, topic: str) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        try:
            await admin.delete_topics([topic])
        finally:
            await admin.close()

    asyncio.run(run())


def made_anew(deployment: Deployment, held: int) -> bool:
    """Make the topic anew; tell whether the broker has forgotten the old one, with all that it ``held``."""
    create_topics(deployment.broker, [TOPIC], deployment.partitions)
    return messages_in(deployment) < held


def republish(drill: Drill, since: datetime) -> int:
    """Do what ``docs/on-call.md`` says where a receiver has lost what it had: publish it once more."""
    number = 0
    for context, message in SENT_THERE:
        chosen = ("--context", context, "--type", message, "--since", since.isoformat(), "--limit", "30000")
        why = ("--reason", "the topic was made anew", "--wait", "60", "--json")
        number += len(json.loads(drill.system.orderflow("outbox", "republish", *chosen, *why))["messages"])
    return number
