"""What tests do to a real broker besides letting the system use it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


def create_topics(address: str, names: Sequence[str], partitions: int) -> None:
    """Create topics and return when the broker leads every partition of them."""

    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        finally:
            await admin.close()
        asker = AIOKafkaConsumer(bootstrap_servers=address)
        await asker.start()
        try:
            await asker.end_offsets([TopicPartition(name, number) for name in names for number in range(partitions)])
        finally:
            await asker.stop()

    asyncio.run(create())


def topic_names(address: str) -> set[str]:
    """Return the names of all topics that the broker has."""

    async def ask() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    return asyncio.run(ask())


@dataclass(frozen=True)
class Sent:
    """One record to be sent, or read."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str]


def send(address: str, records: Sequence[Sent]) -> None:
    """Send records, each acknowledged before the next."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        try:
            for record in records:
                headers = [(name, value.encode()) for name, value in record.headers.items()]
                await producer.send_and_wait(record.topic, record.value, record.key.encode(), headers=headers)
        finally:
            await producer.stop()

    asyncio.run(run())


def read_all(address: str, topic: str) -> list[Sent]:
    """Return every record that the topic holds now."""

    async def run() -> list[Sent]:
        # Without a group every partition of the topic is assigned, from its beginning.
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
        await consumer.start()
        try:
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            found: list[Sent] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [
                        Sent(
                            record.topic,
                            (record.key or b"").decode(),
                            record.value or b"",
                            {name: value.decode() for name, value in record.headers},
                        )
                        for record in records
                    ]
            return found
        finally:
            await consumer.stop()

    return asyncio.run(run())
