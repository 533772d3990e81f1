"""One run: the whole system, what befalls it, and the rest it comes to when the faults have stopped."""

import asyncio
from typing import Final

from orderflow.providers.record import Store as Record
from orderflow.simulation.adversary import Adversary
from orderflow.simulation.api import OrderApi
from orderflow.simulation.choices import Choices
from orderflow.simulation.clients import Clients
from orderflow.simulation.contexts import contexts_of
from orderflow.simulation.life import Life, task_factory
from orderflow.simulation.outside import Outside
from orderflow.simulation.plan import HORIZON, Plan
from orderflow.simulation.process import Place
from orderflow.simulation.processes import API, Processes
from orderflow.simulation.store import PROVIDERS, Store
from orderflow.simulation.story import Story
from orderflow.simulation.topics import Topics
from orderflow.simulation.virtual_time import Stalled, VirtualLoop, WallClock
from orderflow.simulation.watching import Watch
from orderflow.simulation.worker import Worker
from orderflow.spec.resource import CONTEXTS

LONGEST: Final = 600.0
"""Virtual seconds after the faults have stopped until a system that is not at rest never will be."""

MOST: Final = 5_000
"""Transactions after which a run turns in circles: a busy one takes some hundreds."""


class World:
    """Plays one plan on a fresh store.

    Attributes:
        removed: per context whose first revision was removed, the id of the last decision before.
    """

    def __init__(self, store: Store, plan: Plan, choices: Choices) -> None:
        self.store = store
        self.plan = plan
        self.choices = choices
        self.loop = VirtualLoop()
        self.loop.set_task_factory(task_factory)  # type: ignore[arg-type]
        self.story = Story(self.loop)
        self.topics = Topics(plan.partitions)
        self.contexts = contexts_of(plan.reservation_seconds)
        self.removed: dict[str, int] = {}
        self.clock = WallClock(self.loop)

    def play(self) -> Story:
        """Run until the system is at rest, or it is certain that it never will be."""
        self.store.reset()
        asyncio.set_event_loop(None)
        self._playing = self.loop.create_task(self._play())
        try:
            self.loop.run_until_complete(self._playing)
        except asyncio.CancelledError:
            self.story.breach(f"comes-to-rest: more than {MOST} transactions, and no end")
        except Stalled:
            self.story.breach("comes-to-rest: nothing happens any more, and somebody is still waiting")
        finally:
            self._clear_away()
        return self.story

    async def _play(self) -> None:
        self._build()
        groups = [asyncio.create_task(group.run()) for group in self._processes.groups.values()]
        self._processes.open_all()
        clients = Clients(self.choices, self.story, self._api)
        visits = [asyncio.create_task(visit) for visit in clients.visits(self.plan)]
        self._adversary.expect(self.plan.befalling)
        await asyncio.sleep(HORIZON)
        self._adversary.stop(self.choices)
        await asyncio.gather(*visits)
        await self._come_to_rest()
        for group in groups:
            group.cancel()

    def _build(self) -> None:
        store, topics, story = self.store, self.topics, self.story
        self._outside = Outside(self.choices, record_of(store), self.clock, story)
        clocks_agree = all(each.what != "clock" for each in self.plan.befalling)
        self._watch = Watch(store, topics, story, self.contexts, self._workers, clocks_agree=clocks_agree)
        store.on_commit, store.committed = self._watch.on_commit, self._watch.committed
        places = {
            name: Place(context, store.engines[name], topics, story, self._observe)
            for name, context in self.contexts.items()
        }
        self._processes = Processes(
            self.plan, self.choices, places, self._outside, self._watch, lambda name: name in self.removed
        )
        self._adversary = Adversary(self._processes, store, topics, self._outside, self._watch, story, self.removed)

    def _workers(self, context: str) -> list[Worker]:
        return self._processes.workers(context)

    def _api(self) -> OrderApi | None:
        api = self._processes.slots[API].running
        return api if isinstance(api, OrderApi) else None

    def _observe(self, life: Life, what: object, error: BaseException | None) -> None:
        self._watch.observe(life, what, error)
        if self._watch.transactions == MOST:
            self._playing.cancel()

    def _clear_away(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(_let_go())
        self.loop.close()
        self.store.on_commit = lambda _name: ""
        self.store.committed = lambda _name: None

    # Rest

    async def _come_to_rest(self) -> None:
        limit = self.loop.time() + LONGEST
        looks = 0
        while (wait := self._unrest(min(0.25 * (looks + 1), 10.0))) is not None:
            looks += 1
            if self.loop.time() > limit:
                self.story.breach(f"comes-to-rest: {self._restless()}")
                return
            await asyncio.sleep(wait)

    def _unrest(self, patience: float) -> float | None:
        """Return in how many seconds to look again, or ``None`` if nothing is left to happen."""
        if self._restless():
            return patience
        # An order that a bad message has stopped is somebody's to look at; its reviews would go on for ever.
        found = [self._watch.due_of_moving_in(name, self.clock) for name in CONTEXTS]
        due = [seconds for seconds in found if seconds is not None]
        return max(min(due), 0.0) + 0.5 if due else None

    def _restless(self) -> str:
        """Return what is under way, in words; empty if nothing is."""
        if self.topics.on_the_way or self._outside.under_way:
            return "something is on its way"
        for slot in self._processes.slots.values():
            if slot.wanted and slot.running is None:
                return f"{slot.name} is not running"
        for name in CONTEXTS:
            if self._watch.anything_waits(name):
                return f"{name} has not published everything"
            for place in self._processes.partitions_of(name):
                if self._watch.recorded(name, place) + 1 < self.topics.end(place):
                    return f"{name} has not read {place[0]}[{place[1]}] to its end"
        return ""


_RECORDS: dict[str, Record] = {}


def record_of(store: Store) -> Record:
    """Return the providers' record in ``store``; it is opened once."""
    url = store.urls[PROVIDERS]
    return _RECORDS.setdefault(url, Record(url))


async def _let_go() -> None:
    """Give cancelled tasks the few steps they need to end."""
    for _ in range(5):
        await asyncio.sleep(0)
