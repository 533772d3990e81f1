"""Shutdown drains: stop taking, finish the batch, publish, commit, leave. Liveness looks at progress."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from harness.fakes import MemoryFetching
from harness.process import PATIENCE, REVISION, Process, Site, column, remove_revision, until
from harness.tally import TALLY, ask, call_of, decide, reserved
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime import relay, worker
from orderflow.runtime.context import Context
from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition
from orderflow.runtime.processor import Delivery, Processor
from orderflow.runtime.schema import consumed_offsets, outbox, tasks
from orderflow.runtime.sql_thread import SqlThread
from orderflow.runtime.state_cache import MemoryTable, StateCache
from orderflow.runtime.worker import REMOVED, STUCK_AFTER, Settings, Worker

COMMANDS = ("inventory-commands", 0)


class Slow:
    """Decisions that wait, once, until they are let through."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def context(self) -> Context[Any]:
        def slowly(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
            return decide(state, visible, message)

        return replace(TALLY, decide=slowly)


def delivery(record: Record, dealt_with: list[int]) -> Delivery:
    return Delivery([record], lambda: dealt_with.append(record.offset))


class TestTheProcessor:
    async def test_finishes_the_batch_that_is_being_made_and_starts_no_other(self, site: Site) -> None:
        slow = Slow()
        process = await site.joined(context=slow.context())
        process.run()
        dealt_with: list[int] = []
        await process.processor.put(delivery(site.broker.put(ask("o1")), dealt_with))
        await until(slow.begun.is_set)
        await process.processor.put(delivery(site.broker.put(ask("o2")), dealt_with))
        draining = asyncio.create_task(process.processor.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        slow.go_on.set()
        await draining
        assert process.seen("o1") == ("ask-o1-1",)
        await until(lambda: dealt_with == [0])
        assert process.tally("o2") is None

    async def test_lets_a_partition_go_only_behind_the_batch_and_signs_it_off(self, site: Site) -> None:
        slow = Slow()
        process = await site.joined(context=slow.context())
        process.run()
        dealt_with: list[int] = []
        await process.processor.put(delivery(site.broker.put(ask("o1")), dealt_with))
        await until(slow.begun.is_set)
        leaving = asyncio.create_task(process.leave())
        await asyncio.sleep(0)
        assert not leaving.done()
        slow.go_on.set()
        await leaving
        await until(lambda: dealt_with == [0])
        assert process.seen("o1") == ("ask-o1-1",)
        assert column(process.rows(consumed_offsets), "owner") == [None, None]

    async def test_takes_over_only_between_two_batches(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Schedule: the ledger is read, a batch is recorded, and the processor goes on from what was read."""
        process = await site.joined()
        process.run()
        dealt_with: list[int] = []
        first_offsets = site.broker.first_offsets

        async def late(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
            await process.processor.put(delivery(site.broker.put(ask("o1")), dealt_with))
            await until(lambda: dealt_with or process.processor.busy._waiters)
            return await first_offsets(partitions)

        monkeypatch.setattr(site.broker, "first_offsets", late)
        await process.join()
        await until(lambda: dealt_with == [0])
        assert process.processor.positions[COMMANDS].recorded == 0

    async def test_decides_nothing_of_a_partition_that_has_left(self, process: Process, site: Site) -> None:
        record = site.broker.put(ask("o1"))
        await process.leave()
        await process.deliver(record)
        assert process.tally("o1") is None

    async def test_a_sign_off_that_fails_makes_the_next_owner_careful_and_nothing_worse(
        self, process: Process, site: Site
    ) -> None:
        process.faults.on = lambda _statement: True
        await process.leave()
        process.faults.mend()
        assert process.processor.positions == {}
        site.broker.put(ask("o1"))
        successor = await site.joined("inventory-1/b")
        assert successor.processor.positions[COMMANDS].careful_until == 0
        await successor.fetch()
        assert successor.seen("o1")


class StillFaust:
    """As much of the Faust application as a worker sees; it is assigned everything and fetches what it is told."""

    def __init__(self) -> None:
        self.processor: Processor
        self.started = False
        self.rebalancing = False
        self.changes: dict[tuple[str, str], bytes | None] = {}
        self._ended = asyncio.Event()

    async def start(self) -> None:
        await self.processor.assigned([(topic, 0) for topic in TALLY.takes])
        self.started = True

    async def wait_until_stopped(self) -> None:
        await self._ended.wait()

    async def stop(self) -> None:
        self._ended.set()


Starts = Callable[..., Worker]


@pytest.fixture
async def workers(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Starts]:
    """Builds workers on the site, with the broker that is a list."""
    faust = StillFaust()
    started: list[Worker] = []

    def build(*_: object, **__: object) -> tuple[StillFaust, StateCache]:
        return faust, StateCache(MemoryTable())

    def nothing_to_migrate(_context: str, _url: str, _revision: str, _engine: Engine, _now: object) -> None:
        pass

    monkeypatch.setattr(worker, "KafkaBroker", lambda *_: site.broker)
    monkeypatch.setattr(worker, "build_app", build)
    # Decisions here wait to be let through, which no decision does on the event loop.
    monkeypatch.setattr(worker, "sql_for", lambda _database, name: SqlThread(name))
    monkeypatch.setattr(worker, "FaustFetching", lambda _app: MemoryFetching())
    monkeypatch.setattr(worker, "prepare", nothing_to_migrate)

    def start(context: Context[Any] = TALLY) -> Worker:
        settings = Settings(
            context=context,
            instance="inventory-0",
            broker="",
            prefix="",
            partitions=1,
            database_url=f"sqlite:///{site.file}",
            durability="normal",
            revision=REVISION,
            host="127.0.0.1",
            port=0,
            providers=site.providers,
        )
        started.append(Worker(settings, site.clock))
        return started[-1]

    yield start
    for one in started:
        one._sql.close()
        one._engine.dispose()


class TestTheWorker:
    async def test_told_to_stop_finishes_publishes_signs_off_and_leaves(self, site: Site, workers: Starts) -> None:
        slow = Slow()
        one = workers(slow.context())
        running = asyncio.create_task(one.run())
        await until(lambda: one._app.started and one.processor.positions)
        await one.processor.put(delivery(site.broker.put(ask("o1", "call")), []))
        await until(slow.begun.is_set)
        signal.raise_signal(signal.SIGTERM)
        slow.go_on.set()
        assert await running == 0
        observer = site.process("observer/1")
        assert observer.seen("o1") == ("ask-o1-1",)
        assert reserved(ask("o1")) in site.broker.ids()
        assert None not in [
            row["published_at"] for row in observer.rows(outbox) if row["event_type"] != "ReservationDue"
        ]
        assert column(observer.rows(consumed_offsets), "owner") == [None, None]
        assert column(observer.rows(tasks), "claimed_by") == [None]

    async def test_whose_revision_is_removed_leaves_for_good(self, site: Site, workers: Starts) -> None:
        one = workers()
        running = asyncio.create_task(one.run())
        await until(lambda: one._app.started and one.processor.positions)
        remove_revision(site.process("owner/1"))
        await one.processor.put(delivery(site.broker.put(ask("o1")), []))
        assert await running == REMOVED

    async def test_that_an_error_ends_does_not_sign_off(
        self, site: Site, workers: Starts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = workers()

        def break_down(*_: object) -> None:
            raise RuntimeError("a fault of the runtime's own")

        monkeypatch.setattr(one.processor._cache, "show", break_down)
        running = asyncio.create_task(one.run())
        await until(lambda: one._app.started and one.processor.positions)
        await one.processor.put(delivery(site.broker.put(ask("o1")), []))
        with pytest.raises(RuntimeError):
            await running
        owners = column(site.process("observer/1").rows(consumed_offsets), "owner")
        assert [owner.partition("/")[0] for owner in owners] == ["inventory-0", "inventory-0"]

    async def test_that_starts_again_frees_the_claims_of_its_earlier_lives(self, site: Site, workers: Starts) -> None:
        dead = await site.joined("inventory-0/killed")
        site.provider.script = [asyncio.Event()]
        await dead.take(ask("o1", "call"))
        await workers()._open()
        (task,) = dead.rows(tasks)
        assert (task["task_id"], task["claimed_by"], task["unclear"]) == (call_of("o1"), None, True)

    async def test_relays_when_it_wakes_up_and_every_five_seconds(self, site: Site, workers: Starts) -> None:
        assert relay.EVERY == 5
        await (await site.joined("inventory-1/killed")).take(ask("o1"))
        site.clock.advance(2)
        one = workers()
        running = asyncio.create_task(one.run())
        await until(lambda: site.broker.ids() == [reserved(ask("o1"))])
        one._stop.set()
        await running

    async def test_relays_if_it_holds_the_anchor_and_only_then(self, site: Site, workers: Starts) -> None:
        await (await site.joined("inventory-1/killed")).take(ask("o1"))
        site.clock.advance(2)
        one = workers()
        await one._relay_if_anchor()
        assert site.broker.ids() == []
        await one.processor.assigned([("order-events", 0)])
        await one._relay_if_anchor()
        assert site.broker.ids() == []
        await one.processor.assigned([COMMANDS])
        await one._relay_if_anchor()
        assert site.broker.ids() == [reserved(ask("o1"))]


def failing(one: Worker) -> set[str]:
    return {check.name for check in one._readiness() if not check.ok}


class TestReadiness:
    async def test_names_what_is_missing_at_the_start(self, workers: Starts) -> None:
        assert failing(workers()) == {"migrations", "database", "broker", "relay", "assignment"}

    async def test_is_given_when_everything_has_been_seen(self, site: Site, workers: Starts) -> None:
        one = workers()
        running = asyncio.create_task(one.run())
        await until(lambda: not failing(one))
        one._stop.set()
        await running

    @pytest.mark.parametrize("what", ["database", "broker"])
    async def test_says_which_of_the_infrastructure_is_away(self, workers: Starts, what: str) -> None:
        one = workers()
        one._checks = {}
        one.processor.away = what
        assert failing(one) == {what, "assignment"}

    async def test_names_the_relay_while_nothing_is_acknowledged(self, workers: Starts) -> None:
        one = workers()
        one._checks = {}
        one._outgoing.failing_since = 1.0
        assert failing(one) == {"relay", "assignment"}


class TestLiveness:
    async def assigned(self, site: Site, workers: Starts, idle: float) -> Worker:
        one = workers()
        await one.processor.assigned([COMMANDS])
        one.processor.progress = time.monotonic() - idle
        return one

    async def test_ends_after_a_minute_without_progress(self, site: Site, workers: Starts) -> None:
        for idle, alive in ((STUCK_AFTER - 2, True), (STUCK_AFTER + 1, False)):
            one = await self.assigned(site, workers, idle)
            assert [check.ok for check in one._liveness()] == [alive]

    async def test_counts_having_nothing_to_do_as_progress(self, site: Site, workers: Starts) -> None:
        one = await self.assigned(site, workers, 200)
        await one._measure()
        assert [check.ok for check in one._liveness()] == [True]

    async def test_counts_messages_that_wait_as_none(self, site: Site, workers: Starts) -> None:
        one = await self.assigned(site, workers, 70)
        site.broker.put(ask("o1"))
        await one._measure()
        assert [check.ok for check in one._liveness()] == [False]

    async def test_blames_nobody_while_the_infrastructure_is_away(self, site: Site, workers: Starts) -> None:
        one = await self.assigned(site, workers, 200)
        site.broker.put(ask("o1"))
        one.processor.away = "database"
        await one._measure()
        assert [check.ok for check in one._liveness()] == [True]

    async def test_a_worker_that_is_stuck_ends_itself_where_nobody_else_does(self, site: Site, workers: Starts) -> None:
        one = await self.assigned(site, workers, 200)
        site.broker.put(ask("o1"))
        with pytest.raises(RuntimeError, match="stuck"):
            await one._measure()

    async def test_a_recorded_batch_is_progress(self, process: Process) -> None:
        process.processor.progress = 0
        await process.take(ask("o1"))
        assert time.monotonic() - process.processor.progress < PATIENCE

    async def test_an_unending_rewind_is_none(self, process: Process) -> None:
        process.processor.progress = 0
        process.site.broker.put(ask("o1"))
        await process.deliver(process.site.broker.put(ask("o2")))
        assert process.processor.progress == 0
