"""A real broker: an idempotent producer of our own, and a client that asks for offsets.

The producer is not Faust's: a message counts as published when the broker has acknowledged it, and not before. It is
librdkafka's, which makes its requests outside of Python: half of aiokafka's cost at one message a request.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaError as Refusal
from confluent_kafka import KafkaException, Message, Producer

from orderflow.runtime.broker import OutboxRow, PublishFailed

ACKNOWLEDGED_WITHIN = 10.0
"""Seconds. A broker that restarts is back sooner; after that the row waits in the outbox instead of in memory."""
ANSWERED_WITHIN = 5.0

Change = tuple[tuple[str, str], bytes | None]
"""A topic (without the prefix) and a key, with the key's new value there, or with none if it is gone."""


class _Acknowledgements:
    """Waits for the acknowledgement of so many messages; the first refusal decides."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._loop = asyncio.get_running_loop()
        self._refused: Refusal | None = None
        self.all = self._loop.create_future()

    def __call__(self, refused: Refusal | None, _message: Message) -> None:
        """Take one; called in the thread that polls."""
        self._refused = self._refused or refused
        self._left -= 1
        if not self._left:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self.all.done():
            self.all.set_result(self._refused)


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
        self._producer: Producer | None = None
        self._polling: threading.Thread | None = None
        self._stopped = threading.Event()
        self._asker: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Connect.

        Raises:
            PublishFailed: no broker answers at the address.
        """
        if self._producer is None:
            self._open()
        assert self._producer is not None
        try:
            await asyncio.to_thread(self._producer.list_topics, timeout=ANSWERED_WITHIN)
        except KafkaException as error:
            raise PublishFailed(f"no broker answers at {self._address}") from error

    def _open(self) -> None:
        self._producer = Producer(
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
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._stopped.clear()
        self._polling = threading.Thread(
            target=self._poll, args=(self._producer,), name="acknowledgements", daemon=True
        )
        self._polling.start()

    def _poll(self, producer: Producer) -> None:
        while not self._stopped.is_set():
            producer.poll(0.5)

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        await asyncio.to_thread(self._close)
        if self._asker is not None:
            await self._asker.stop()

    def _close(self) -> None:
        if self._producer is not None and self._polling is not None:
            self._producer.flush(ANSWERED_WITHIN)
            self._stopped.set()
            self._polling.join()
            self._producer = None

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Publish the rows in their order; see :class:`~orderflow.runtime.broker.Broker`."""
        if not rows:
            return
        producer = self._producer
        assert producer is not None
        acknowledgements = _Acknowledgements(len(rows))
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
            if refused.fatal():
                # This producer is of no more use to the broker; the next message goes by another one.
                await asyncio.to_thread(self._close)
                self._open()
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
