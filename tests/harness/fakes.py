"""The three things that are not real in a test of the runtime: the clock, the broker and the providers.

Each does what it is told, fails when it is told to, and remembers what was asked of it.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from orderflow.contracts import codec
from orderflow.contracts.envelope import Message
from orderflow.contracts.topics import TOPIC_OF
from orderflow.providers.protocol import ProviderAnswer, ProviderRequest
from orderflow.runtime.broker import OutboxRow, PublishFailed, partition_of
from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition


class StillClock:
    """Stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Watch:
    """Stands for the ``time`` module where its monotonic clock is to go when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class MemoryBroker:
    """A broker that is a list per partition.

    Attributes:
        down: it answers nothing.
        refused: keys whose messages it does not take.
        failing: per key, what its next messages end in.
        unacknowledged: keys whose messages it takes without saying so.
        held: per key, what its messages wait for before they are taken.
        attempted: event ids of what it was to take from outboxes, in order.
        published: what it took of that.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self.down = False
        self.failing: dict[str, list[Exception]] = {}
        self.refused: set[str] = set()
        self.unacknowledged: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.attempted: list[str] = []
        self.published: list[OutboxRow] = []
        self.asked_for_ends = 0
        self._logs: dict[Partition, list[Record]] = {}
        self._ends: dict[Partition, int] = {}

    # What is on it

    def put(
        self,
        message: Message | bytes,
        *,
        topic: str = "",
        partition: int = 0,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Record:
        """Append a message as somebody else would, and return its record."""
        if isinstance(message, Message):
            topic = topic or TOPIC_OF[type(message)]
            key = message.key if key is None else key
            message = codec.encode(message)
        place = (topic, partition)
        record = Record(topic, partition, self.end(place), key or "", message, headers or {})
        self._logs.setdefault(place, []).append(record)
        self._ends[place] = record.offset + 1
        return record

    def end(self, place: Partition) -> int:
        return self._ends.get(place, 0)

    def first(self, place: Partition) -> int:
        log = self._logs.get(place)
        return log[0].offset if log else self.end(place)

    def records(self, place: Partition, start: int) -> list[Record]:
        return [record for record in self._logs.get(place, []) if record.offset >= start]

    def skip(self, place: Partition, number: int = 1) -> None:
        """Use up offsets that no record ever has."""
        self._ends[place] = self.end(place) + number

    def expire(self, place: Partition, before: int) -> None:
        """Delete what is older than offset ``before``."""
        self._logs[place] = self.records(place, before)

    def recreate(self, place: Partition) -> None:
        """Delete the topic and create it again."""
        self._logs.pop(place, None)
        self._ends.pop(place, None)

    # What the runtime asks of it

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def tell(self, changes: Iterable[tuple[tuple[str, str], bytes | None]]) -> None:
        """Changes of tables go nowhere."""

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            self.attempted.append(row.event_id)
            if row.key in self.held:
                await self.held[row.key].wait()
            if self.failing.get(row.key):
                raise self.failing[row.key].pop(0)
            if self.down or row.key in self.refused:
                raise PublishFailed("not taken")
            self.published.append(row)
            number = partition_of(row.key, self.partitions)
            self.put(row.payload, topic=row.topic, partition=number, key=row.key, headers=row.headers)
            if row.key in self.unacknowledged:
                raise PublishFailed("taken, but nobody heard of it")

    async def end_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self.asked_for_ends += 1
        self._answers()
        return {place: self.end(place) for place in partitions}

    async def first_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self._answers()
        return {place: self.first(place) for place in partitions}

    def _answers(self) -> None:
        if self.down:
            raise PublishFailed("no answer")

    def ids(self) -> list[str]:
        """The event ids that were published, in order."""
        return [row.event_id for row in self.published]


class MemoryFetching:
    """Fetches from a :class:`MemoryBroker`, from where it was told to."""

    def __init__(self) -> None:
        self.at: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.seeks: list[dict[Partition, int]] = []
        self.pauses: list[set[Partition]] = []

    async def seek(self, offsets: Mapping[Partition, int]) -> None:
        self.seeks.append(dict(offsets))
        self.at.update(offsets)

    def pause(self, partitions: Collection[Partition]) -> None:
        self.pauses.append(set(partitions))
        self.paused.update(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self.paused.difference_update(partitions)


DONE = ProviderAnswer(status="done", reference="ref")


class ScriptedProvider:
    """Answers :data:`DONE` unless its script says otherwise, one entry per call.

    Attributes:
        script: what the next calls end in: an answer, an exception, or an event to wait for before :data:`DONE`.
        known: by key, what a query is answered.
        asked: ``call`` or ``query`` and the key, in order.
    """

    def __init__(self, name: str = "card") -> None:
        self.name = name
        self.script: list[ProviderAnswer | Exception | asyncio.Event] = []
        self.known: dict[str, ProviderAnswer] = {}
        self.asked: list[tuple[str, str]] = []

    async def call(self, request: ProviderRequest) -> ProviderAnswer:
        self.asked.append(("call", request.key))
        step = self.script.pop(0) if self.script else DONE
        match step:
            case Exception():
                raise step
            case asyncio.Event():
                await step.wait()
                return DONE
        return step

    async def query(self, request: ProviderRequest) -> ProviderAnswer | None:
        self.asked.append(("query", request.key))
        return self.known.get(request.key)
