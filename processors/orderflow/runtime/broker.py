"""The broker, as a seam: what the runtime asks of it besides the delivery of records."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
from aiokafka.partitioner import murmur2


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way out, exactly as it will stand on the broker.

    Attributes:
        topic: without the prefix.
        id: its place among the rows, where it was read back; 0 where it has just been written.
    """

    event_id: str
    event_type: str
    topic: str
    key: str
    payload: bytes
    headers: dict[str, str]
    id: int = 0


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


class Fetching(Protocol):
    """What the processor asks of whoever fetches records."""

    async def seek(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Go on fetching at the given offsets."""

    def pause(self, partitions: Collection[tuple[str, int]]) -> None:
        """Stop fetching."""

    def resume(self, partitions: Collection[tuple[str, int]]) -> None:
        """Fetch again."""


class Offsets(Protocol):
    """Tells what a topic holds."""

    async def first_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offset of the oldest message still there, per partition."""

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Return the offset that the next message will have, per partition."""


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of ``key``, as every producer here and Kafka's own clients compute it."""
    return (int(murmur2(key.encode())) & 0x7FFFFFFF) % partitions
