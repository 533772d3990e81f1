"""What befalls processes, the broker and the providers at moments that the plan names."""

import asyncio
from collections.abc import Iterable
from functools import partial

from orderflow.simulation.api import OrderApi
from orderflow.simulation.choices import Choices
from orderflow.simulation.group import SESSION
from orderflow.simulation.outside import Outside
from orderflow.simulation.plan import Befalling
from orderflow.simulation.processes import NEXT_REVISION, Processes, Slot
from orderflow.simulation.store import Store
from orderflow.simulation.story import Story
from orderflow.simulation.topics import Topics
from orderflow.simulation.watching import Watch
from orderflow.simulation.worker import Worker
from orderflow.spec.resource import CONTEXTS


class Adversary:
    """Strikes.

    Args:
        removed: per context whose revision is removed, what was decided last before; it is written here.
    """

    def __init__(
        self,
        processes: Processes,
        store: Store,
        topics: Topics,
        outside: Outside,
        watch: Watch,
        story: Story,
        removed: dict[str, int],
    ) -> None:
        self._processes = processes
        self._store = store
        self._topics = topics
        self._outside = outside
        self._watch = watch
        self._story = story
        self._removed = removed
        self._loop = asyncio.get_running_loop()

    def expect(self, befallings: Iterable[Befalling]) -> None:
        """Strike when it is time."""
        for befalling in befallings:
            self._loop.call_at(befalling.at, self._befall, befalling)

    def stop(self, choices: Choices) -> None:
        """End every fault, and strike no more."""
        self._story.note("adversary", "stops")
        choices.active = False
        self._topics.down = False
        self._outside.down.clear()
        for process in self._processes.running():
            process.line.cut = False
            self._resume(process)
            if isinstance(process, Worker):
                self._stop_being_lazy(process)

    def _befall(self, befalling: Befalling) -> None:
        extent = befalling.seconds or befalling.size
        # A number of workers is 1 in a plan that was drawn and 1.0 in one that was read from a file.
        how_much = f"{extent:g}" if extent else ""
        self._story.note("adversary", f"{befalling.what} {befalling.whom} {how_much}".strip())
        getattr(self, f"_befall_{befalling.what}")(befalling)

    def _running(self, whom: str) -> list[Worker | OrderApi]:
        return [process for process in self._processes.running() if process.life.name == whom]

    def _befall_crash(self, befalling: Befalling) -> None:
        for process in self._running(befalling.whom):
            process.life.end()

    def _befall_pause(self, befalling: Befalling) -> None:
        for process in self._running(befalling.whom):
            process.life.pause()
            self._loop.call_later(befalling.seconds, self._resume, process)
            if isinstance(process, Worker):
                self._loop.call_later(SESSION, self._miss, process)

    def _miss(self, worker: Worker) -> None:
        if worker.life.alive and worker.life.paused:
            context = worker.context.name
            self._processes.groups[context].leave(worker)
            if len(self._processes.workers(context)) == 1:
                self._processes.open(f"{context}-9", context)

    def _resume(self, process: Worker | OrderApi) -> None:
        if not process.life.alive or not process.life.paused:
            return
        self._story.note(process.life.owner, "goes on as if nothing had been")
        process.life.resume()
        if isinstance(process, Worker):
            self._loop.call_later(process.life.measure("notice", 0.1, 3.0), self._notice, process)

    def _notice(self, worker: Worker) -> None:
        if worker.life.alive and not self._processes.groups[worker.context.name].is_in(worker):
            worker.life.spawn(worker.notice())

    def _befall_workers(self, befalling: Befalling) -> None:
        context = befalling.whom
        if context not in CONTEXTS:
            return
        for number in range(3):
            name = f"{context}-{number}"
            slot = self._processes.slots.get(name)
            if number >= befalling.size:
                self._dismiss(slot)
            elif slot is None:
                self._processes.open(name, context)

    def _dismiss(self, slot: Slot | None) -> None:
        if slot is not None:
            slot.wanted = False
            if isinstance(slot.running, Worker):
                slot.running.life.spawn(slot.running.stop())

    def _befall_stir(self, befalling: Befalling) -> None:
        if befalling.whom in CONTEXTS:
            self._processes.groups[befalling.whom].stir()

    def _befall_clock(self, befalling: Befalling) -> None:
        for process in self._running(befalling.whom):
            process.life.clock.offset += befalling.size
        for name in CONTEXTS:
            self._watch.committed(name)

    def _befall_broker(self, befalling: Befalling) -> None:
        self._topics.down = True
        self._loop.call_later(befalling.seconds, partial(setattr, self._topics, "down", False))

    def _befall_cut(self, befalling: Befalling) -> None:
        for process in self._running(befalling.whom):
            process.line.cut = True
            self._loop.call_later(befalling.seconds, partial(setattr, process.line, "cut", False))

    def _befall_provider(self, befalling: Befalling) -> None:
        self._outside.down.add(befalling.whom)
        self._loop.call_later(befalling.seconds, self._outside.down.discard, befalling.whom)

    def _befall_lazy(self, befalling: Befalling) -> None:
        """Leave one topic of a context lying for a while."""
        if befalling.whom not in CONTEXTS:
            return
        partitions = self._processes.partitions_of(befalling.whom)
        topics = sorted({topic for topic, _ in partitions})
        lazy = topics[int(befalling.at * 100) % len(topics)]
        for worker in self._processes.workers(befalling.whom):
            worker.fetcher.lazy |= {place for place in partitions if place[0] == lazy}
            self._loop.call_later(befalling.seconds, self._stop_being_lazy, worker)

    def _stop_being_lazy(self, worker: Worker) -> None:
        lazy, worker.fetcher.lazy = worker.fetcher.lazy, set()
        for place in sorted(lazy):
            worker.fetcher.expect(place)

    def _befall_revision(self, befalling: Befalling) -> None:
        """Take the revision that runs away from its context and allow the next one, as its owner does."""
        context = befalling.whom if befalling.whom in CONTEXTS else "order"
        if context not in self._removed:
            ((last,),) = self._store.peek(context, "SELECT coalesce(max(id), 0) FROM decisions")
            self._removed[context] = int(str(last))
            self._store.tell(context, "UPDATE allowed_revisions SET revision = ?", NEXT_REVISION)
