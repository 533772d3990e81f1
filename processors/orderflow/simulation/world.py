"""One run: the whole system, what befalls it, and the rest it comes to when the faults have stopped."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from orderflow.assembly import CALLS
from orderflow.contexts.inventory.stocking import seed_products
from orderflow.contracts.envelope import Message
from orderflow.contracts.outcomes import StepDeadline
from orderflow.providers.record import Store as Record
from orderflow.runtime.aggregates import from_cache
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.ledger import Fenced, Partition
from orderflow.runtime.rows import Rows
from orderflow.runtime.unit_of_work import Done
from orderflow.simulation.api import NoAnswer, OrderApi, insist
from orderflow.simulation.choices import Choices
from orderflow.simulation.contexts import contexts_of
from orderflow.simulation.deadlines import too_early
from orderflow.simulation.group import SESSION, Group
from orderflow.simulation.life import LIVING, Life, task_factory
from orderflow.simulation.outside import Outside
from orderflow.simulation.plan import HORIZON, Befalling, Changing, Ordering, Plan
from orderflow.simulation.store import PROVIDERS, Store
from orderflow.simulation.topics import Topics
from orderflow.simulation.virtual_time import Stalled, VirtualLoop, WallClock
from orderflow.simulation.worker import Worker
from orderflow.spec.resource import CONTEXTS

API: Final = "order-api"
LONGEST: Final = 600.0
"""Virtual seconds after the faults have stopped until a system that is not at rest never will be."""

MOST: Final = 5_000
"""Transactions after which a run turns in circles: a busy one takes some hundreds."""

FIRST_REVISION: Final = "r1"

_DUE = (
    "SELECT min(CASE WHEN claimed_by IS NULL THEN due_at ELSE max(due_at, claimed_until) END)"
    " FROM tasks WHERE status = 'open'"
)
_DUE_OF_MOVING = f"{_DUE} AND key NOT IN (SELECT key FROM dead_letters WHERE status = 'open')"  # noqa: S608
_WAITING = "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"
_LEDGER = 'SELECT topic, partition, "offset", owner FROM consumed_offsets'


@dataclass(frozen=True)
class Line:
    """One line of a run's trace."""

    at: float
    who: str
    what: str


@dataclass
class Slot:
    """A place where a process runs, one life after another."""

    name: str
    context: str
    revision: str = FIRST_REVISION
    lives: int = 0
    wanted: bool = True
    running: Worker | OrderApi | None = None


@dataclass
class Played:
    """What one run has come to, before it is judged.

    Attributes:
        breaches: what the simulation itself saw that must not be.
        reached: the races that were really reached.
    """

    trace: list[Line] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)


class World:
    """Plays one plan on a fresh store."""

    def __init__(self, store: Store, plan: Plan, choices: Choices) -> None:
        self.store = store
        self.plan = plan
        self.choices = choices
        self.played = Played()
        self.loop = VirtualLoop()
        self.loop.set_task_factory(task_factory)  # type: ignore[arg-type]
        self.topics = Topics(plan.partitions)
        self.contexts = contexts_of(plan.reservation_seconds)
        self.slots: dict[str, Slot] = {}
        self.removed: dict[str, int] = {}
        self._transactions = 0
        self._ledgers: dict[str, dict[tuple[object, object], object]] = {}
        self.clock = WallClock(self.loop)

    # What happens

    def play(self) -> Played:
        """Run until the system is at rest, or it is certain that it never will be."""
        self.store.reset()
        self.store.on_commit = self._on_commit
        self.store.committed = self._committed
        asyncio.set_event_loop(None)
        self._story = self.loop.create_task(self._play())
        try:
            self.loop.run_until_complete(self._story)
        except asyncio.CancelledError:
            self.breach(f"comes-to-rest: more than {MOST} transactions, and no end")
        except Stalled:
            self.breach("comes-to-rest: nothing happens any more, and somebody is still waiting")
        finally:
            self._clear_away()
        return self.played

    async def _play(self) -> None:
        self.outside = Outside(
            choices=self.choices,
            record=record_of(self.store),
            clock=self.clock,
            note=self.note,
            reached=self.reached,
            breach=self.breach,
        )
        self.groups = {name: Group(self._partitions_of(name), self._deal) for name in CONTEXTS}
        jobs = [asyncio.create_task(group.run()) for group in self.groups.values()]
        self._open(Slot(f"{API}-0", "order"))
        for name in CONTEXTS:
            for number in range(self.plan.workers[name]):
                self._open(Slot(f"{name}-{number}", name))
        clients = [asyncio.create_task(self._order(order)) for order in self.plan.orders]
        clients += [asyncio.create_task(self._change(change)) for change in self.plan.changes]
        for befalling in self.plan.befalling:
            self.loop.call_at(befalling.at, self._befall, befalling)
        await asyncio.sleep(HORIZON)
        self._stop_faults()
        await asyncio.gather(*clients)
        await self._come_to_rest()
        for job in jobs:
            job.cancel()

    def _clear_away(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(_let_go())
        self.loop.close()
        self.store.on_commit = lambda _name: ""
        self.store.committed = lambda _name: None

    async def _come_to_rest(self) -> None:
        limit = self.loop.time() + LONGEST
        looks = 0
        while (wait := self._unrest(min(0.25 * (looks + 1), 10.0))) is not None:
            looks += 1
            if self.loop.time() > limit:
                self.breach(f"comes-to-rest: {self._restless()}")
                return
            await asyncio.sleep(wait)

    def _unrest(self, patience: float) -> float | None:
        """Return in how many seconds to look again, or ``None`` if nothing is left to happen."""
        if self._restless():
            return patience
        # An order that a bad message has stopped is somebody's to look at; its reviews would go on for ever.
        due = [seconds for name in CONTEXTS if (seconds := self._due_in(name, self.clock, _DUE_OF_MOVING)) is not None]
        return max(min(due), 0.0) + 0.5 if due else None

    def _restless(self) -> str:
        """Return what is under way, in words; empty if nothing is."""
        if self.topics.on_the_way or self.outside.under_way:
            return "something is on its way"
        for slot in self.slots.values():
            if slot.wanted and slot.running is None:
                return f"{slot.name} is not running"
        for name in CONTEXTS:
            if self._anything_waits(name):
                return f"{name} has not published everything"
            ledger: dict[Partition, int] = {(t, n): at for t, n, at, _ in self.store.peek(name, _LEDGER)}  # type: ignore[misc]
            for place in self._partitions_of(name):
                if ledger.get(place, -1) + 1 < self.topics.end(place):
                    return f"{name} has not read {place[0]}[{place[1]}] to its end"
        return ""

    # Processes

    def _open(self, slot: Slot) -> None:
        self.slots[slot.name] = slot
        self._begin(slot)

    def _begin(self, slot: Slot) -> None:
        if not slot.wanted or slot.running is not None:
            return
        slot.lives += 1
        slot.revision = self._revision_of(slot.context)
        life = Life(slot.name, slot.lives, self.choices, self.loop)
        life.at_end.append(partial(self._ended, slot))
        engine = self.store.engines[slot.context]
        if slot.name.startswith(API):
            slot.running = OrderApi(
                self.contexts["order"],
                engine,
                life,
                self.topics,
                slot.revision,
                note=self.note,
                observe=self._observe,
                reached=self.reached,
            )
        else:
            slot.running = Worker(
                self.contexts[slot.context],
                engine,
                life,
                self.topics,
                self.groups[slot.context],
                self.outside,
                CALLS.get(slot.context, ()),
                slot.revision,
                prepare=self._stock if slot.context == "inventory" else None,
                anything_waits=partial(self._anything_waits, slot.context),
                is_stale=partial(self._is_stale, self.contexts[slot.context].aggregate, slot.context),
                sent=partial(self._sent, slot.context),
                due_in=partial(self._due_in, slot.context),
                note=self.note,
                observe=self._observe,
                reached=self.reached,
                failed=self._failed,
            )
        slot.running.start()

    def _ended(self, slot: Slot) -> None:
        slot.running = None
        if slot.wanted:
            self.loop.call_later(self.choices.span("restart", slot.name, 0.2, 4.0), self._begin, slot)

    def _failed(self, life: Life, error: BaseException) -> None:
        self.breach(f"process-goes-on: {life.owner} was ended by {type(error).__name__}: {error}".split("\n")[0])

    def _stock(self, connection: Connection) -> Sequence[Message]:
        return seed_products(connection, self.plan.products, self.clock.now())

    def _workers(self, context: str) -> list[Worker]:
        running = (slot.running for slot in self.slots.values() if slot.context == context)
        return [worker for worker in running if isinstance(worker, Worker)]

    def _partitions_of(self, context: str) -> list[Partition]:
        return [(topic, n) for topic in sorted(self.contexts[context].takes) for n in range(self.plan.partitions)]

    def _deal(self, partitions: Sequence[Partition], members: int) -> Sequence[Collection[Partition]]:
        if self.plan.split:
            return [partitions[number::members] for number in range(members)]
        return [[place for place in partitions if place[1] % members == number] for number in range(members)]

    # Clients

    async def _order(self, order: Ordering) -> None:
        await asyncio.sleep(order.at)
        answers = await insist(
            lambda request: self._api().place(order, request),
            order.times,
            lambda: self.choices.span("client", order.name, 0.3, 2.5),
            partial(self.note, f"client of {order.name}"),
        )
        if any(answer != answers[0] for answer in answers):
            self.breach(f"one-answer-per-key: {', '.join(answer.order_id for answer in answers)} for {order.name}")

    async def _change(self, change: Changing) -> None:
        await asyncio.sleep(change.at)
        name = change.name
        await insist(
            lambda request: self._api().change(name, change, request),
            1,
            lambda: self.choices.span("client", name, 0.3, 2.5),
            partial(self.note, f"client of {name}"),
        )

    def _api(self) -> OrderApi:
        api = self.slots[f"{API}-0"].running
        if not isinstance(api, OrderApi):
            raise NoAnswer
        return api

    # What befalls them

    def _befall(self, befalling: Befalling) -> None:
        self.note("adversary", f"{befalling.what} {befalling.whom} {befalling.seconds or befalling.size or ''}".strip())
        getattr(self, f"_befall_{befalling.what}")(befalling)

    def _lives(self, whom: str) -> list[Life]:
        slot = self.slots.get(whom)
        return [slot.running.life] if slot is not None and slot.running is not None else []

    def _befall_crash(self, befalling: Befalling) -> None:
        for life in self._lives(befalling.whom):
            life.end()

    def _befall_pause(self, befalling: Befalling) -> None:
        slot = self.slots.get(befalling.whom)
        if slot is None or slot.running is None:
            return
        process = slot.running
        process.life.pause()
        self.loop.call_later(befalling.seconds, self._resume, process)
        if isinstance(process, Worker):
            self.loop.call_later(SESSION, self._miss, slot, process)

    def _miss(self, slot: Slot, worker: Worker) -> None:
        if worker.life.alive and worker.life.paused:
            self.groups[slot.context].leave(worker)
            if len(self._workers(slot.context)) == 1:
                self._open(Slot(f"{slot.context}-9", slot.context))

    def _resume(self, process: Worker | OrderApi) -> None:
        if not process.life.alive or not process.life.paused:
            return
        self.note(process.life.owner, "goes on as if nothing had been")
        process.life.resume()
        if isinstance(process, Worker):
            self.loop.call_later(process.life.measure("notice", 0.1, 3.0), self._notice, process)

    def _notice(self, worker: Worker) -> None:
        if worker.life.alive and not self.groups[worker.context.name].is_in(worker):
            worker.life.spawn(worker.notice())

    def _befall_workers(self, befalling: Befalling) -> None:
        context = befalling.whom
        if context not in CONTEXTS:
            return
        for number in range(3):
            name = f"{context}-{number}"
            slot = self.slots.get(name)
            if number >= befalling.size:
                if slot is not None:
                    slot.wanted = False
                    if isinstance(slot.running, Worker):
                        slot.running.life.spawn(slot.running.stop())
            elif slot is None:
                self._open(Slot(name, context))

    def _befall_stir(self, befalling: Befalling) -> None:
        if befalling.whom in CONTEXTS:
            self.groups[befalling.whom].stir()

    def _befall_clock(self, befalling: Befalling) -> None:
        for life in self._lives(befalling.whom):
            life.clock.offset += befalling.size
        for name in CONTEXTS:
            self._committed(name)

    def _befall_broker(self, befalling: Befalling) -> None:
        self.topics.down = True
        self.loop.call_later(befalling.seconds, self._bring_broker_back)

    def _bring_broker_back(self) -> None:
        self.topics.down = False

    def _befall_cut(self, befalling: Befalling) -> None:
        slot = self.slots.get(befalling.whom)
        if slot is not None and slot.running is not None:
            slot.running.line.cut = True
            self.loop.call_later(befalling.seconds, self._mend, slot.running)

    def _mend(self, process: Worker | OrderApi) -> None:
        process.line.cut = False

    def _befall_provider(self, befalling: Befalling) -> None:
        self.outside.down.add(befalling.whom)
        self.loop.call_later(befalling.seconds, self.outside.down.discard, befalling.whom)

    def _befall_lazy(self, befalling: Befalling) -> None:
        """Leave one topic of a context lying for a while."""
        if befalling.whom not in CONTEXTS:
            return
        topics = sorted(self.contexts[befalling.whom].takes)
        topic = topics[int(befalling.at * 100) % len(topics)]
        for worker in self._workers(befalling.whom):
            places = {place for place in self._partitions_of(befalling.whom) if place[0] == topic}
            worker.fetcher.lazy |= places
            self.loop.call_later(befalling.seconds, self._stop_being_lazy, worker)

    def _stop_being_lazy(self, worker: Worker) -> None:
        lazy, worker.fetcher.lazy = worker.fetcher.lazy, set()
        for place in lazy:
            worker.fetcher.expect(place)

    def _befall_revision(self, befalling: Befalling) -> None:
        """Take the revision that runs away from its context and allow the next one, as its owner does."""
        context = befalling.whom if befalling.whom in CONTEXTS else "order"
        if context not in self.removed:
            ((last,),) = self.store.peek(context, "SELECT coalesce(max(id), 0) FROM decisions")
            self.removed[context] = int(str(last))
            self.store.tell(context, "UPDATE allowed_revisions SET revision = 'r2'")

    def _revision_of(self, context: str) -> str:
        return "r2" if context in self.removed else FIRST_REVISION

    def _stop_faults(self) -> None:
        self.note("adversary", "stops")
        self.choices.active = False
        self.topics.down = False
        self.outside.down.clear()
        for slot in list(self.slots.values()):
            if slot.running is None:
                continue
            slot.running.line.cut = False
            self._resume(slot.running)
            if isinstance(slot.running, Worker):
                self._stop_being_lazy(slot.running)

    # What is seen

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.played.trace.append(Line(self.loop.time(), who, what))

    def reached(self, race: str) -> None:
        """Take note that a race was really reached."""
        self.played.reached.add(race)

    def breach(self, what: str) -> None:
        """Take note of what must not be."""
        self.note("!", what)
        self.played.breaches.append(what)

    def _on_commit(self, name: str) -> str:
        life = LIVING.get()
        if life is None or name == PROVIDERS:
            return ""
        fault = life.fault("commit")
        if fault:
            self.note(
                life.owner,
                {"lost": "cannot commit", "unclear": "commits without hearing of it"}.get(fault)
                or ("dies before its commit" if fault == "crash-before" else "dies after its commit"),
            )
        if fault.startswith("crash"):
            life.end()
        if fault == "unclear":
            self.reached("commit whose outcome nobody heard")
        if fault == "crash-after":
            self.reached("crash between commit and publication")
        return fault

    def _committed(self, name: str) -> None:
        if name not in CONTEXTS:
            return
        self._watch_ledger(name)
        workers = self._workers(name)
        if workers and self._anything_waits(name):
            for worker in workers:
                worker.expect_relay()
        for worker in workers:
            worker.expect_due()

    def _sent(self, context: str, row: OutboxRow) -> None:
        if row.event_type == StepDeadline.__name__:
            agree = all(each.what != "clock" for each in self.plan.befalling)
            for breach in too_early(self.store, self.topics, context, row, clocks_agree=agree):
                self.breach(breach)

    def _watch_ledger(self, name: str) -> None:
        """See to it that whoever goes on with a partition is its owner, and that nobody goes back."""
        life, known = LIVING.get(), self._ledgers.setdefault(name, {})
        for topic, number, offset, owner in self.store.peek(name, _LEDGER):
            before = known.get((topic, number), -1)
            if offset != before:
                known[topic, number] = offset
                if life is not None and life.owner != owner:
                    self.breach(f"only-the-owner-goes-on: {life.owner} set {topic}[{number}] of {owner} to {offset}")
                if int(str(offset)) < int(str(before)):
                    self.breach(f"a-ledger-goes-on: {topic}[{number}] went from {before} back to {offset}")

    def _anything_waits(self, name: str) -> bool:
        return bool(self.store.peek(name, _WAITING))

    def _is_stale(self, rows: Rows[Any], context: str, key: str, entry: bytes) -> bool:
        found = self.store.peek(context, f"SELECT version FROM {rows.table.name} WHERE {rows.key} = ?", key)  # noqa: S608
        return bool(found) and found[0][0] != from_cache(entry)[0]

    def _due_in(self, name: str, clock: WallClock, query: str = _DUE) -> float | None:
        ((due,),) = self.store.peek(name, query)
        return clock.until(datetime.fromisoformat(str(due)).replace(tzinfo=UTC)) if due else None

    def _observe(self, life: Life, what: object, error: BaseException | None) -> None:
        self._transactions += 1
        if self._transactions == MOST:
            self._story.cancel()
        match error:
            case Fenced():
                self.note(life.owner, f"is fenced: {error}")
                self.reached("zombie fenced")
            case RevisionRemoved():
                self.reached("removed revision refused")
        if isinstance(what, Done):
            self._observe_done(life, what)

    def _observe_done(self, life: Life, done: Done) -> None:
        for incoming, outcome in done.outcomes:
            if outcome == "passed-by":
                continue
            self.note(life.owner, f"takes {incoming.event_type or '?'} of {incoming.key}: {outcome}")
            if outcome in SEEN:
                self.reached(SEEN[outcome])


SEEN: Final[Mapping[str, str]] = {
    "duplicate": "duplicate delivered",
    "parked": "message parked behind a dead letter",
    "dead": "message dead-lettered",
    "late": "message too late to change anything",
}

_RECORDS: dict[str, Record] = {}


def record_of(store: Store) -> Record:
    """Return the providers' record in ``store``; it is opened once."""
    url = store.urls[PROVIDERS]
    return _RECORDS.setdefault(url, Record(url))


async def _let_go() -> None:
    """Give cancelled tasks the few steps they need to end."""
    for _ in range(5):
        await asyncio.sleep(0)
