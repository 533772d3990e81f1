"""Reading a topic again, beside those who consume it: as a seam, and from Kafka.

The consumer belongs to no group: it moves nobody's partitions and commits nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from orderflow.runtime.broker import PublishFailed
from orderflow.runtime.incoming import Record, record_of
from orderflow.runtime.ledger import Partition

ANSWERED_WITHIN_MS = 2_000


class Read(NamedTuple):
    """A record, and when the broker took it."""

    record: Record
    at: datetime


class History(Protocol):
    """What was published, from the oldest message that is still there."""

    async def start_of(self, place: Partition, since: datetime | None) -> int:
        """Return the offset of the first message from ``since`` on, or of the oldest one."""

    async def read(self, place: Partition, start: int, most: int) -> tuple[Sequence[Read], int]:
        """Return some messages from offset ``start`` on, and the offset to read on from.

        None and the same offset again means that there was nothing to be had.

        Raises:
            PublishFailed: the broker does not answer.
        """

    async def close(self) -> None:
        """Let go of the broker. Reading again is allowed, and connects anew."""


class KafkaHistory:
    """The topics of one Kafka cluster, read again."""

    def __init__(self, address: str, prefix: str, client_id: str) -> None:
        self._address = address
        self._prefix = prefix
        self._client_id = client_id
        self._consumer: AIOKafkaConsumer | None = None
        self._stands_at: tuple[Partition, int] | None = None

    async def start_of(self, place: Partition, since: datetime | None) -> int:
        """Return the offset of the first message from ``since`` on; see :class:`History`."""
        consumer, partition = await self._at(place)
        try:
            if since is None:
                return int((await consumer.beginning_offsets([partition]))[partition])
            found = (await consumer.offsets_for_times({partition: int(since.timestamp() * 1000)}))[partition]
            if found is not None:
                return int(found.offset)
            return int((await consumer.end_offsets([partition]))[partition])
        except KafkaError as error:
            raise self._away(error) from error

    async def read(self, place: Partition, start: int, most: int) -> tuple[Sequence[Read], int]:
        """Return some messages from offset ``start`` on; see :class:`History`."""
        consumer, partition = await self._at(place)
        try:
            # To seek drops what has been fetched already.
            if self._stands_at != (place, start):
                consumer.seek(partition, start)
            batches = await consumer.getmany(partition, timeout_ms=ANSWERED_WITHIN_MS, max_records=most)
            after = int(await consumer.position(partition))
        except KafkaError as error:
            raise self._away(error) from error
        self._stands_at = (place, after)
        return [Read(self._record(found), _moment(found)) for found in batches.get(partition, [])], after

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _at(self, place: Partition) -> tuple[AIOKafkaConsumer, TopicPartition]:
        partition = TopicPartition(self._prefix + place[0], place[1])
        try:
            if self._consumer is None:
                consumer = AIOKafkaConsumer(
                    bootstrap_servers=self._address,
                    client_id=f"{self._client_id}-replay",
                    group_id=None,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                )
                await consumer.start()
                self._consumer = consumer
            if self._consumer.assignment() != {partition}:
                self._consumer.assign([partition])
                self._stands_at = None
        except KafkaError as error:
            raise self._away(error) from error
        return self._consumer, partition

    def _record(self, found: ConsumerRecord) -> Record:
        return record_of(
            found.topic.removeprefix(self._prefix),
            found.partition,
            found.offset,
            found.key,
            found.value,
            found.headers,
        )

    def _away(self, error: Exception) -> PublishFailed:
        return PublishFailed(f"{type(error).__name__}: the broker at {self._address} does not answer")


def _moment(found: ConsumerRecord) -> datetime:
    return datetime.fromtimestamp(found.timestamp / 1000, UTC)
