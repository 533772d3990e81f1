"""The places where processes run, one life after another."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from orderflow.assembly import CALLS
from orderflow.contexts.inventory.stocking import seed_products
from orderflow.contracts.envelope import Message
from orderflow.runtime.ledger import Partition
from orderflow.simulation.api import OrderApi
from orderflow.simulation.choices import Choices
from orderflow.simulation.group import Group
from orderflow.simulation.life import Life
from orderflow.simulation.outside import Outside
from orderflow.simulation.plan import Plan
from orderflow.simulation.process import Place
from orderflow.simulation.virtual_time import WallClock
from orderflow.simulation.watching import Watch
from orderflow.simulation.worker import Worker
from orderflow.spec.resource import CONTEXTS

API: Final = "order-api-0"
FIRST_REVISION: Final = "r1"
NEXT_REVISION: Final = "r2"


@dataclass
class Slot:
    """A place for one process."""

    name: str
    context: str
    lives: int = 0
    wanted: bool = True
    running: Worker | OrderApi | None = None


class Processes:
    """Starts processes, and starts them again when they have ended.

    Args:
        is_removed: whether the first revision has been removed from a context.
    """

    def __init__(
        self,
        plan: Plan,
        choices: Choices,
        places: Mapping[str, Place],
        outside: Outside,
        watch: Watch,
        is_removed: Callable[[str], bool],
    ) -> None:
        self._plan = plan
        self._choices = choices
        self._places = places
        self._outside = outside
        self._watch = watch
        self._is_removed = is_removed
        self._loop = asyncio.get_running_loop()
        self._clock = WallClock(self._loop)
        self.slots: dict[str, Slot] = {}
        self.groups = {name: Group(self.partitions_of(name), self._deal) for name in CONTEXTS}

    def open_all(self) -> None:
        """Start what the plan begins with."""
        self.open(API, "order")
        for name in CONTEXTS:
            for number in range(self._plan.workers[name]):
                self.open(f"{name}-{number}", name)

    def open(self, name: str, context: str) -> None:
        """Start a process under a new name."""
        slot = self.slots[name] = Slot(name, context)
        self._begin(slot)

    def workers(self, context: str) -> list[Worker]:
        """Return the workers of a context that run now."""
        running = (slot.running for slot in self.slots.values() if slot.context == context)
        return [worker for worker in running if isinstance(worker, Worker)]

    def running(self) -> Iterator[Worker | OrderApi]:
        """Yield every process that runs now."""
        yield from [slot.running for slot in self.slots.values() if slot.running is not None]

    def partitions_of(self, context: str) -> list[Partition]:
        """Return the partitions that a context reads."""
        topics = sorted(self._places[context].context.takes)
        return [(topic, number) for topic in topics for number in range(self._plan.partitions)]

    def _begin(self, slot: Slot) -> None:
        if not slot.wanted or slot.running is not None:
            return
        slot.lives += 1
        life = Life(slot.name, slot.lives, self._choices, self._loop)
        life.at_end.append(partial(self._ended, slot))
        revision = NEXT_REVISION if self._is_removed(slot.context) else FIRST_REVISION
        place = self._places[slot.context]
        slot.running = (
            OrderApi(place, life, revision) if slot.name == API else self._worker(slot.context, place, life, revision)
        )
        slot.running.start()

    def _worker(self, context: str, place: Place, life: Life, revision: str) -> Worker:
        return Worker(
            place,
            life,
            revision,
            self.groups[context],
            {name: self._outside.line(life, name) for name in CALLS.get(context, ())},
            self._watch,
            prepare=self._stock if context == "inventory" else None,
        )

    def _ended(self, slot: Slot) -> None:
        slot.running = None
        if slot.wanted:
            self._loop.call_later(self._choices.span("restart", slot.name, 0.2, 4.0), self._begin, slot)

    def _stock(self, connection: Connection) -> Sequence[Message]:
        return seed_products(connection, self._plan.products, self._clock.now())

    def _deal(self, partitions: Sequence[Partition], members: int) -> Sequence[Collection[Partition]]:
        if self._plan.split:
            return [partitions[number::members] for number in range(members)]
        return [[place for place in partitions if place[1] % members == number] for number in range(members)]
