"""The broker, as a seam: what the runtime asks of it besides the delivery of records."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from aiokafka.partitioner import murmur2


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way out, exactly as it will stand on the broker. ``topic`` is without the prefix."""

    id: int
    event_id: str
    event_type: str
    topic: str
    key: str
    payload: bytes
    headers: dict[str, str]


class PublishFailed(Exception):  # noqa: N818 - reads as what happened
    """The broker did not acknowledge the message; it may or may not have it."""


class Broker(Protocol):
    """What can be asked of a broker. Topics are named without the prefix."""

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Publish the rows in their order and return when the broker has acknowledged all of them.

        Raises:
            PublishFailed: at least one was not acknowledged.
        """

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return, per (topic, partition), the offset that the next message will have.

        Raises:
            PublishFailed: the broker does not answer.
        """


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of ``key``, as every producer here and Kafka's own clients compute it."""
    return (int(murmur2(key.encode())) & 0x7FFFFFFF) % partitions
