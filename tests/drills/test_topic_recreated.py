"""Two topics are deleted with messages that nobody has read, and made anew.

One has the answers of the card, the other the orders' deadlines: what contexts send to themselves, and nobody else
asks for again.
"""

import asyncio
import json
import os
import signal
import time
from datetime import UTC, datetime
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from harness.broker import create_topics
from harness.drill import END_WITHIN, Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from harness.whole import state_of
from orderflow.spec.deployment import Deployment

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

READERS = {"payment-commands": "payment", "order-commands": "order"}
UNREAD = 50
STARTS_OVER = "starting at the earliest message"
AGAIN = "publishing own messages again"


def test_topics_are_recreated(stage: Stage) -> None:
    with stage("topics-recreated", UNHURRIED) as drill:
        began = datetime.now(UTC)
        with drill.ordering():
            drill.enough_in_flight()
            deployment = drill.system.deployment
            pids = [freeze(drill, reader) for reader in READERS.values()]
            eventually(lambda: unread(drill) >= UNREAD, f"{UNREAD} messages wait for the readers", within=20)
            lost, held = unread(drill), {topic: messages_in(deployment, topic) for topic in READERS}
            for topic in READERS:
                delete(deployment.broker, topic)
                eventually(partial(made_anew, deployment, topic, held[topic]), f"{topic} is there again")
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            since = time.monotonic()
            for topic, reader in READERS.items():
                eventually(partial(drill.system.said, f"{reader}-0", STARTS_OVER), f"{topic} is noticed", within=120)
                drill.recovered(f"{topic} is read", since)
        eventually(lambda: drill.books.in_flight() == 0, "every order ends by itself", within=END_WITHIN)
        own = sum(told["messages"] for reader in READERS.values() for told in drill.system.said(f"{reader}-0", AGAIN))
        drill.saw(messages_deleted_unread=lost, own_messages_published_again=own)
        drill.saw(published_once_more_by_hand=republish(drill, began))


def freeze(drill: Drill, reader: str) -> int:
    pid = drill.system.pid(f"{reader}-0")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) == "T", f"{pid} is frozen")
    return pid


def unread(drill: Drill) -> int:
    """Return how many messages wait for the readers."""
    deployment = drill.system.deployment
    return sum(
        messages_in(deployment, topic)
        - sum(place.offset + 1 for at, place in drill.books.ledger(reader).items() if at[0] == topic)
        for topic, reader in READERS.items()
    )


def messages_in(deployment: Deployment, topic: str) -> int:
    """Return how many messages the topic has ever taken."""

    async def ask() -> int:
        asker = AIOKafkaConsumer(bootstrap_servers=deployment.broker)
        await asker.start()
        try:
            places = [TopicPartition(topic, number) for number in range(deployment.partitions)]
            return sum((await asker.end_offsets(places)).values())
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


def made_anew(deployment: Deployment, topic: str, held: int) -> bool:
    """Make the topic anew; tell whether the broker has forgotten the old one, with all that it ``held``."""
    create_topics(deployment.broker, [topic], deployment.partitions)
    return messages_in(deployment, topic) < held


def republish(drill: Drill, since: datetime) -> int:
    """Do what ``docs/on-call.md`` says where a receiver has lost what it had: publish it once more.

    The orders have ended without; but they asked again under other ids, and ``verify`` misses those that were lost.
    """
    chosen = [word for context in READERS.values() for word in ("--context", context)]
    why = ("--reason", "the topics were made anew", "--wait", "60", "--limit", "30000", "--json")
    done = drill.system.orderflow("outbox", "republish", *chosen, "--since", since.isoformat(), *why)
    return len(json.loads(done)["messages"])
