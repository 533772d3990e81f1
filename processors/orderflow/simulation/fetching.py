"""What a process fetches of its partitions: late, in pieces, again, or with a piece missing."""

import asyncio
from collections.abc import Collection, Mapping

from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition
from orderflow.runtime.processor import Delivery, Processor
from orderflow.simulation.life import Life
from orderflow.simulation.story import Story
from orderflow.simulation.topics import Topics

AT_ONCE = 20


class Fetcher:
    """Fetches for one process; see :class:`~orderflow.runtime.broker.Fetching`.

    Args:
        gap: seconds between two fetches.

    Attributes:
        at: per partition that the process believes to have, the offset to fetch next.
        lazy: partitions from which nothing comes for now.
    """

    def __init__(
        self,
        topics: Topics,
        life: Life,
        processor: Processor,
        gap: float,
        story: Story,
    ) -> None:
        self._topics = topics
        self._life = life
        self._processor = processor
        self._gap = gap
        self._story = story
        self._missing: dict[Partition, int] = {}
        self._loop = asyncio.get_running_loop()
        self.at: dict[Partition, int] = {}
        self.lazy: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._expected: set[Partition] = set()
        self._sought: set[Partition] = set()
        self._listening: set[Partition] = set()
        self._ready: asyncio.Queue[Partition] = asyncio.Queue()

    def take(self, offsets: Mapping[Partition, int]) -> None:
        """Fetch these partitions, and no others, from the given offsets on."""
        self.at = dict(offsets)
        self._paused.clear()
        self._sought = set(offsets)
        for place in offsets:
            if place not in self._listening:
                self._listening.add(place)
                self._topics.listen(place, self.expect)
            self.expect(place)

    def drop(self) -> None:
        """Fetch nothing any more."""
        self.at = {}

    async def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on fetching at the given offsets."""
        mine = {place: offset for place, offset in offsets.items() if place in self.at}
        self.at.update(mine)
        self._sought |= mine.keys()
        for place, offset in mine.items():
            self.expect(place)
            if offset == self._missing.pop(place, -1):
                self._story.reach("gap noticed and read again")

    def pause(self, partitions: Collection[Partition]) -> None:
        """Stop fetching."""
        self._paused.update(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        """Fetch again."""
        self._paused.difference_update(partitions)
        for place in partitions:
            self.expect(place)

    def expect(self, place: Partition) -> None:
        """Fetch from ``place`` before long."""
        if place in self.at and place not in self._expected and self._life.alive:
            self._expected.add(place)
            least, most = (5.0, 40.0) if self._life.fault("fetch-late") else (0.0005, 0.008)
            self._loop.call_later(self._life.span("fetch", least, most), self._ready.put_nowait, place)

    async def run(self) -> None:
        """Hand what is fetched to the processor, until cancelled. What comes within a gap comes together."""
        while True:
            ready = [await self._ready.get()]
            await asyncio.sleep(self._gap)
            await self._life.gate()
            while not self._ready.empty():
                ready.append(self._ready.get_nowait())
            records = [record for place in ready for record in self._fetch(place)]
            if records:
                await self._processor.put(Delivery(records, self._dealt_with))

    def _fetch(self, place: Partition) -> list[Record]:
        self._expected.discard(place)
        if place not in self.at or place in self._paused or place in self.lazy:
            return []
        records = self._topics.read(place, self._start(place), AT_ONCE)
        if records:
            self.at[place] = records[-1].offset + 1
            if self._topics.end(place) > self.at[place]:
                self.expect(place)
        return records

    def _start(self, place: Partition) -> int:
        """Return where to fetch from: mostly where the last fetch ended."""
        start = self.at[place]
        # What was asked for by a seek comes as it was asked for: a real broker goes nowhere else either.
        if place in self._sought:
            self._sought.discard(place)
            return start
        match self._life.fault("fetch"):
            case "again":
                self._story.note(self._life.owner, f"is given {place[0]}[{place[1]}] again")
                return max(0, start - 1 - int(self._life.measure("again", 0, 4)))
            case "gap" if self._topics.end(place) > start + 1:
                self._story.note(self._life.owner, f"is not given {place[0]}[{place[1]}]@{start}")
                self._missing[place] = start
                return start + 1
        return start

    def _dealt_with(self) -> None:
        if self._life.alive and self._life.fault("acknowledge"):
            self._story.note(self._life.owner, "dies before acknowledging")
            self._life.end()
