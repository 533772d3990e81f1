"""A real broker: an idempotent producer of our own, and a client that asks for offsets.

The producer is not Faust's: a message counts as published when the broker has acknowledged it, and not before. It is
librdkafka's, which makes its requests outside of Python: half of aiokafka's cost at one message a request.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from orderflow.runtime.acknowledged import AcknowledgedProducer, Acknowledgements
from orderflow.runtime.broker import OutboxRow, PublishFailed

ACKNOWLEDGED_WITHIN = 10.0
"""Seconds. A broker that restarts is back sooner; after that the row waits in the outbox instead of in memory."""
ANSWERED_WITHIN = 5.0

Change = tuple[tuple[str, str], bytes | None]
"""A topic (without the prefix) and a key, with the key's new value there, or with none if it is gone."""


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
        self._producer: AcknowledgedProducer | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Connect.

        Raises:
            PublishFailed: no broker answers at the address.
        """
        if self._producer is None:
            self._producer = self._open()
        try:
            await self._producer.connect(ANSWERED_WITHIN)
        except KafkaException as error:
            raise PublishFailed(f"no broker answers at {self._address}") from error

    def _open(self) -> AcknowledgedProducer:
        return AcknowledgedProducer(
            {
                "bootstrap.servers": self._address,
                "client.id": f"{self._client_id}-outbox",
                "enable.idempotence": True,
                # As every other client here: see partition_of.
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "socket.nagle.disable": True,
                "message.timeout.ms": int(ACKNOWLEDGED_WITHIN * 1000),
                "reconnect.backoff.max.ms": 1000,
                # Critical ones alone: of a broker that is away we say ourselves what it means.
                "log_level": 2,
            }
        )

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        if self._producer is not None:
            await self._producer.close(ANSWERED_WITHIN)
            self._producer = None
        if self._asker is not None:
            await self._asker.stop()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Publish the rows in their order; see :class:`~orderflow.runtime.broker.Broker`."""
        if not rows:
            return
        producer = self._producer
        assert producer is not None
        acknowledgements = Acknowledgements(len(rows))
        try:
            for row in rows:
                producer.produce(
                    self._prefix + row.topic,
                    row.payload,
                    row.key.encode(),
                    on_delivery=acknowledgements,
                    headers=list(row.headers.items()),
                )
        except (BufferError, KafkaException) as error:
            raise self._failed(type(error).__name__) from error
        refused = await acknowledgements.all
        if refused is not None:
            if refused.fatal() and self._producer is producer:
                # This producer is of no more use to the broker; the next message goes by another one.
                self._producer = self._open()
                await producer.close(ANSWERED_WITHIN)
            raise self._failed(refused.name())

    def _failed(self, why: str) -> PublishFailed:
        return PublishFailed(f"{why}: the broker at {self._address} did not acknowledge")

    def tell(self, changes: Iterable[Change]) -> None:
        """Send changes of tables, for those who look on; nobody waits for them, and what is lost is lost."""
        assert self._producer is not None
        with contextlib.suppress(BufferError, KafkaException):
            for (topic, key), value in changes:
                self._producer.produce(self._prefix + topic, value, key.encode())

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
