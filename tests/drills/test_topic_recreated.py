"""A topic is deleted and made anew: once under its running reader, and once with messages that nobody has read.

Among those are the card's answers, which payment sends to itself and nobody else asks for again.
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

from harness.broker import create_topics
from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from harness.whole import state_of
from orderflow.spec.deployment import Deployment

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

TOPIC, READER = "payment-commands", "payment"
UNREAD = 50
STARTS_OVER = "starting at the earliest message"
AGAIN = "publishing own messages again"


def test_a_topic_is_recreated(stage: Stage) -> None:
    with stage("topic-recreated", UNHURRIED) as drill:
        began = datetime.now(UTC)
        with drill.ordering():
            drill.enough_in_flight()
            since = make_anew(drill)
            # It has read from every partition, so of every one it has to notice.
            notices(drill, "the running reader", drill.system.deployment.partitions, since)
            drill.enough_in_flight()
            pid, lost = freeze_until_messages_wait(drill)
            noticed = len(drill.system.said(f"{READER}-0", STARTS_OVER))
            make_anew(drill)
            os.kill(pid, signal.SIGCONT)
            notices(drill, "the reader that was frozen", noticed + 1, time.monotonic())
        drill.all_end()
        own = sum(told["messages"] for told in drill.system.said(f"{READER}-0", AGAIN))
        drill.saw(messages_deleted_unread=lost, own_messages_published_again=own)
        drill.saw(published_once_more_by_hand=republish(drill, began))


def notices(drill: Drill, who: str, times: int, since: float) -> None:
    """Wait until the reader has said so often that the topic is another one."""
    eventually(lambda: len(drill.system.said(f"{READER}-0", STARTS_OVER)) >= times, f"{who} notices", within=120)
    drill.recovered(who, since)


def freeze_until_messages_wait(drill: Drill) -> tuple[int, int]:
    """Freeze the reader until many messages wait for it; return its process id and how many do."""
    pid = drill.system.pid(f"{READER}-0")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) == "T", f"{pid} is frozen")
    eventually(lambda: unread(drill) >= UNREAD, f"{UNREAD} messages wait for the reader", within=20)
    return pid, unread(drill)


def unread(drill: Drill) -> int:
    ledger = drill.books.ledger(READER)
    return messages_in(drill.system.deployment) - sum(place.offset + 1 for place in ledger.values())


def messages_in(deployment: Deployment) -> int:
    """Return how many messages the topic has ever taken."""

    async def ask() -> int:
        asker = AIOKafkaConsumer(bootstrap_servers=deployment.broker)
        await asker.start()
        try:
            places = [TopicPartition(TOPIC, number) for number in range(deployment.partitions)]
            return sum((await asker.end_offsets(places)).values())
        finally:
            await asker.stop()

    return asyncio.run(ask())


def make_anew(drill: Drill) -> float:
    """Delete the topic, make another one of its name, and return when that was done."""
    deployment = drill.system.deployment

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        try:
            await admin.delete_topics([TOPIC])
            while (await admin.describe_topics([TOPIC]))[0]["error_code"] == 0:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.1)
        finally:
            await admin.close()

    asyncio.run(asyncio.wait_for(delete(), 20))
    create_topics(deployment.broker, [TOPIC], deployment.partitions)
    return time.monotonic()


def republish(drill: Drill, since: datetime) -> int:
    """Do what ``docs/on-call.md`` says where a receiver has lost what it had: publish it once more.

    The orders have ended without; but they asked again under other ids, and ``verify`` misses those that were lost.
    """
    chosen = ("--context", "order", "--type", "OrderPaymentRequested", "--since", since.isoformat())
    why = ("--reason", "the topic was made anew", "--wait", "60", "--limit", "30000", "--json")
    done = drill.system.orderflow("outbox", "republish", *chosen, *why)
    return len(json.loads(done)["messages"])
