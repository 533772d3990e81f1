"""How a load sees its orders end, on a real broker."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from orderflow.client.endings import BrokerEndings
from orderflow.client.figures import Tally
from orderflow.client.pace import RealPace
from orderflow.contracts.codec import encode
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderCancelled, OrderCompleted
from orderflow.contracts.topics import ORDER_EVENTS
from orderflow.saga.flow import Words
from orderflow.spec.deployment import Deployment, process_names, resolve
from orderflow.spec.resource import Broker, Metadata, OrderFlow, Spec

NOW = datetime(2026, 2, 14, tzinfo=UTC)


def completed(order_id: str) -> OrderCompleted:
    return OrderCompleted(event_id=f"{order_id}-end", order_id=order_id, completed_at=NOW)


def cancelled(order_id: str) -> OrderCancelled:
    return OrderCancelled(
        event_id=f"{order_id}-end", order_id=order_id, cancellation_reason="declined", cancelled_at=NOW
    )


async def deployed(address: str, folder: Path) -> Deployment:
    prefix = f"load-{uuid4().hex[:8]}-"
    resource = OrderFlow(
        api_version="orderflow.dev/v1alpha1",
        kind="OrderFlow",
        metadata=Metadata(name="load"),
        spec=Spec(broker=Broker(topic_prefix=prefix, partitions=3)),
    )
    ports = dict.fromkeys(process_names(resource), 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(prefix + ORDER_EVENTS, 3, 1)])
    await admin.close()
    return resolve(resource, data_dir=folder, broker=address, ports=ports, revision="r")


async def publish(deployment: Deployment, messages: Sequence[Message]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker)
    await producer.start()
    for message in messages:
        topic = deployment.topic_prefix + ORDER_EVENTS
        await producer.send_and_wait(topic, encode(message), key=message.key.encode())
    await producer.stop()


async def test_ends_are_told_from_every_partition_and_those_before_the_start_are_not(
    kafka_address: str, tmp_path: Path
) -> None:
    deployment = await deployed(kafka_address, tmp_path)
    await publish(deployment, [completed("earlier")])
    orders = [f"order-{number}" for number in range(30)]
    tally, endings = Tally(1.0, [0.0] * 31), BrokerEndings(deployment, Words(), RealPace())
    await endings.start()
    for number, order_id in enumerate([*orders, "earlier"]):
        tally.accepted(number, order_id, 0.0)
    watching = asyncio.create_task(endings.watch(tally))
    try:
        await publish(deployment, [completed(order_id) for order_id in orders[:29]])
        await publish(deployment, [cancelled(orders[29])])
        async with asyncio.timeout(30):
            while len(tally.outstanding) > 1:  # noqa: ASYNC110 - a tally does not tell of changes
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
        await endings.stop()
    assert tally.outstanding == {"earlier"}
    assert tally.report("broker").outcomes == {"Completed": 29, "Cancelled": 1}
