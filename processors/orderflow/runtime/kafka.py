"""A real broker: an idempotent producer of our own, and a client that asks for offsets.

The producer is not Faust's: a message counts as published when the broker has acknowledged it, and not before.
"""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from orderflow.runtime.broker import OutboxRow, PublishFailed

ACKNOWLEDGED_WITHIN = 10.0
"""Seconds. A broker that restarts is back sooner; after that the row waits in the outbox instead of in memory."""
ANSWERED_WITHIN = 5.0


class KafkaBroker:
    """Publishes to and asks one Kafka cluster.

    Args:
        address: ``host:port`` of one or more brokers, with commas between.
        prefix: put before every topic's name.
        client_id: shown in the broker's own logs and quotas.
    """

    def __init__(self, address: str, prefix: str, client_id: str) -> None:
        self._address = address
        self._prefix = prefix
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError: no broker answers at the address.
        """
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._address,
            client_id=f"{self._client_id}-outbox",
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            request_timeout_ms=int(ACKNOWLEDGED_WITHIN * 1000),
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
        if self._asker is not None:
            await self._asker.stop()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Publish the rows in their order; see :class:`~orderflow.runtime.broker.Broker`."""
        assert self._producer is not None
        try:
            futures = [
                await self._producer.send(
                    self._prefix + row.topic,
                    value=row.payload,
                    key=row.key.encode(),
                    headers=[(name, value.encode()) for name, value in row.headers.items()],
                )
                for row in rows
            ]
            await asyncio.wait_for(asyncio.gather(*futures), ACKNOWLEDGED_WITHIN)
        except (KafkaError, TimeoutError) as error:
            raise PublishFailed(f"{type(error).__name__}: the broker at {self._address} did not acknowledge") from error

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offsets that the next messages will have."""
        return await self._ask(partitions, "end_offsets")

    async def first_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offsets of the oldest messages still there."""
        return await self._ask(partitions, "beginning_offsets")

    async def _ask(self, partitions: Sequence[tuple[str, int]], question: str) -> Mapping[tuple[str, int], int]:
        wanted = {TopicPartition(self._prefix + topic, number): (topic, number) for topic, number in partitions}
        try:
            async with self._asking:
                if self._asker is None:
                    asker = AIOKafkaConsumer(bootstrap_servers=self._address, client_id=f"{self._client_id}-offsets")
                    await asker.start()
                    self._asker = asker
                answers = await asyncio.wait_for(getattr(self._asker, question)(list(wanted)), ANSWERED_WITHIN)
        except (KafkaError, TimeoutError) as error:
            raise PublishFailed(f"{type(error).__name__}: the broker at {self._address} does not answer") from error
        return {wanted[partition]: offset for partition, offset in answers.items()}
