"""The six contexts in one process: the real unit of work on real databases, and between them a broker that is a list.

Nothing runs by itself. :meth:`System.settle` publishes, delivers and calls until nothing is left to do;
:meth:`System.wait` lets time pass, which is when timers come due. Whoever is told to rest takes nothing in meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from sqlalchemy import Engine

from orderflow.contexts.analytics import ANALYTICS
from orderflow.contexts.fulfillment import FULFILLMENT
from orderflow.contexts.inventory import INVENTORY
from orderflow.contexts.inventory.stocking import seed_products
from orderflow.contexts.notification import NOTIFICATION
from orderflow.contexts.order import order_context
from orderflow.contexts.payment import PAYMENT
from orderflow.contracts import codec
from orderflow.contracts.decision import Call
from orderflow.contracts.envelope import Message
from orderflow.contracts.headers import headers_of
from orderflow.contracts.topics import TOPIC_OF
from orderflow.providers.faults import CarrierFaults, Simulation
from orderflow.providers.protocol import ProviderAnswer, ProviderRequest, Unavailable, Unclear
from orderflow.providers.simulated import World, simulated_providers
from orderflow.runtime import outbox, task_rows
from orderflow.runtime.broker import partition_of
from orderflow.runtime.context import Context
from orderflow.runtime.database import allow_revision, open_database
from orderflow.runtime.direct import Direct
from orderflow.runtime.incoming import Record, read
from orderflow.runtime.ledger import Partition
from orderflow.runtime.policy import backoff
from orderflow.runtime.recorder import LEASE
from orderflow.runtime.schema import metadata as recorded
from orderflow.runtime.task_rows import StoredTimer, Task
from orderflow.runtime.unit_of_work import UnitOfWork
from orderflow.saga.flow import FlowBook
from orderflow.spec.products import Product

REVISION = "r1"
OWNER = "pump/1"
PARTITIONS = 2
AT_ONCE = 200
TICK = 0.01
"""Seconds that pass with each round: messages of different rounds have different times."""

WELL = Simulation(carrier=CarrierFaults(error_rate=0, latency_seconds=(0, 0)))
START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


def all_contexts(flows: FlowBook | None = None) -> dict[str, Context[Any]]:
    """Every context by name, as it is built by default."""
    contexts: tuple[Context[Any], ...] = (
        order_context(flows or FlowBook()),
        PAYMENT,
        INVENTORY,
        FULFILLMENT,
        NOTIFICATION,
        ANALYTICS,
    )
    return {context.name: context for context in contexts}


Addresses = Callable[[str], str]
"""The URL of each context's database by the context's name, and under :data:`PROVIDERS` of the providers' record."""

PROVIDERS = "providers"


def files_in(folder: Path) -> Addresses:
    """A SQLite file for each."""
    return lambda name: f"sqlite:///{folder / name}.sqlite"


def open_databases(addresses: Addresses, contexts: Iterable[str]) -> dict[str, Engine]:
    """The databases of a system."""
    return {name: open_database(addresses(name)) for name in contexts}


def open_store(addresses: Addresses) -> Engine:
    """The providers' record of that system."""
    return open_database(addresses(PROVIDERS))


class _Broker:
    def __init__(self) -> None:
        self.logs: dict[Partition, list[Record]] = {}

    def append(self, topic: str, key: str, raw: bytes, headers: Mapping[str, str]) -> None:
        number = partition_of(key, PARTITIONS)
        log = self.logs.setdefault((topic, number), [])
        log.append(Record(topic, number, len(log), key, raw, headers))

    def after(self, partition: Partition, offset: int) -> list[Record]:
        return self.logs.get(partition, [])[offset + 1 : offset + 1 + AT_ONCE]


class System:
    """All contexts, with providers that are well unless told otherwise."""

    def __init__(self, addresses: Addresses, simulation: Simulation = WELL, flows: FlowBook | None = None) -> None:
        self.addresses = addresses
        self.clock = FakeClock()
        self.contexts = all_contexts(flows)
        self.databases = open_databases(addresses, self.contexts)
        self.broker = _Broker()
        self._loop = asyncio.Runner()
        world = World(random=Random(7), sleep=_no_time, now=self.clock.now)
        self._providers = simulated_providers(simulation, addresses(PROVIDERS), world)
        self._units: dict[str, UnitOfWork] = {}
        self._positions: dict[str, dict[Partition, int]] = {}
        for name, context in self.contexts.items():
            self._open(name, context)
        self._direct = Direct(self.contexts["order"], self.clock, REVISION)

    def _open(self, name: str, context: Context[Any]) -> None:
        engine = self.databases[name]
        recorded.create_all(engine)
        context.tables.create_all(engine)
        with engine.begin() as connection:
            allow_revision(connection, REVISION, self.clock.now())
        unit = UnitOfWork(context, engine, owner=OWNER, revision=REVISION, clock=self.clock)
        partitions = [(topic, number) for topic in context.takes for number in range(PARTITIONS)]
        self._positions[name] = {place: entry.offset for place, entry in unit.claim(partitions).items()}
        self._units[name] = unit

    # What comes from outside

    def declare(self, *products: Product) -> None:
        """Bring the stock into line, as inventory does when it starts."""
        with self.databases["inventory"].begin() as connection:
            announced = seed_products(connection, products, self.clock.now())
            outbox.insert(connection, [(message, None) for message in announced], self.clock.now())

    def ask(self, *commands: Message) -> None:
        """Have the order context decide commands at once, as the order API does."""
        for command in commands:
            with self.databases["order"].begin() as connection:
                self._direct.apply(connection, command)

    def send(self, message: Message) -> None:
        """Put a message on its topic, whoever it is from."""
        self.broker.append(TOPIC_OF[type(message)], message.key, codec.encode(message), headers_of(message, None))

    # What happens because of it

    def settle(self, resting: Collection[str] = ()) -> None:
        """Go on until nothing moves any more; the contexts that are ``resting`` take nothing in."""
        while self._round(resting):
            pass

    def wait(self, seconds: float, resting: Collection[str] = ()) -> None:
        """Let time pass, then go on until nothing moves any more."""
        self.clock.advance(seconds)
        self.settle(resting)

    def _round(self, resting: Collection[str]) -> bool:
        self.clock.advance(TICK)
        moved = [self._publish(engine) for engine in self.databases.values()]
        for name in self.contexts:
            if name not in resting:
                moved += [self._deliver(name), self._do_due(name)]
        return any(moved)

    def _publish(self, engine: Engine) -> bool:
        now = self.clock.now()
        with engine.begin() as connection:
            rows = outbox.unpublished(connection, now, AT_ONCE)
            outbox.mark_published(connection, [row.event_id for row in rows], now)
        for row in rows:
            self.broker.append(row.topic, row.key, row.payload, row.headers)
        return bool(rows)

    def _deliver(self, name: str) -> bool:
        positions = self._positions[name]
        waiting = {place: self.broker.after(place, offset) for place, offset in positions.items()}
        batch = [read(record) for records in waiting.values() for record in records]
        if not batch:
            return False
        steps = {
            place: (positions[place], records[-1].offset, read(records[-1]).event_id)
            for place, records in waiting.items()
            if records
        }
        done = self._units[name].process(batch, steps, cached={})
        positions.update({place: step[1] for place, step in steps.items()})
        for call in done.calls:
            self._call(name, call)
        return True

    def _do_due(self, name: str) -> bool:
        with self.databases[name].begin() as connection:
            due = task_rows.claim(connection, OWNER, LEASE, AT_ONCE, self.clock.now())
        for task in due:
            if isinstance(task.body, Call):
                self._call(name, task)
            else:
                self._end(name, task, _message_of(task.body))
        return bool(due)

    def _call(self, name: str, task: Task) -> None:
        body = task.body
        assert isinstance(body, Call)
        try:
            answer = self._loop.run(self._asked(task, body))
        except (Unavailable, Unclear) as error:
            self._postpone(name, task, error)
            return
        message = self.contexts[name].answers[f"{body.provider}/{body.operation}"](body, answer, self.clock.now())
        metadata = msgspec.structs.replace(task.cause.metadata, source=name, causation_id=task.task_id)
        self._end(name, task, msgspec.structs.replace(message, metadata=metadata))

    async def _asked(self, task: Task, body: Call) -> ProviderAnswer:
        provider = self._providers[body.provider]
        request = ProviderRequest(operation=body.operation, key=body.key, arguments=body.arguments)
        known = await provider.query(request) if task.unclear else None
        return known or await provider.call(request)

    def _postpone(self, name: str, task: Task, error: Exception) -> None:
        attempts = task.attempts + 1
        later = msgspec.structs.replace(task, attempts=attempts, unclear=task.unclear or isinstance(error, Unclear))
        due_at = self.clock.now() + timedelta(seconds=backoff(attempts))
        with self.databases[name].begin() as connection:
            task_rows.postpone(connection, later, OWNER, due_at, type(error).__name__)

    def _end(self, name: str, task: Task, message: Message) -> None:
        now = self.clock.now()
        with self.databases[name].begin() as connection:
            if task_rows.finish(connection, task.task_id, OWNER, now):
                outbox.insert(connection, [(message, task.cause.traceparent)], now)

    def close(self) -> None:
        """Let go of everything; the files stay."""
        self._loop.close()
        self._providers.close()
        for engine in self.databases.values():
            engine.dispose()


def _message_of(timer: StoredTimer) -> Message:
    return codec.decode(bytes(timer.message))


async def _no_time(_seconds: float) -> None:
    await asyncio.sleep(0)
