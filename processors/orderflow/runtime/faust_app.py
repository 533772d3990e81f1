"""The Faust application of one context, with the three things that Faust must not do on its own.

- It must not say where a partition stands: positions come from the ledger (:class:`LedgerConsumer`).
- It must not restore tables: they are caches (:class:`ResumeAtOnce`). Restoring is also what was seen to leave a
  worker silent after a rebalance.
- It must not decide what an exception means: the agent hands every event on, undecoded, and never raises.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

import faust
import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service, ServiceT
from mode.utils.futures import maybe_async

from orderflow.runtime.context import Context
from orderflow.runtime.incoming import Record, record_of
from orderflow.runtime.ledger import Partition
from orderflow.runtime.pacing import pace
from orderflow.runtime.processor import Delivery, Processor
from orderflow.runtime.share import Share
from orderflow.runtime.share_assignor import ShareAssignor
from orderflow.runtime.state_cache import StateCache

SESSION_SECONDS = 6.0
"""The least a broker allows by default: a killed worker's partitions move after that long."""


log = structlog.get_logger(__name__)

GAP = 0.03
"""Seconds between two fetches of a context that somebody waits for. The first message after a pause is fetched at once;
under load the fixed cost of a fetch, a transaction and a publication, some 3 ms, is shared by what comes within this
time. A saga of five hops has 150 ms."""


class _Unremembered(defaultdict[TP, Any]):
    """Read offsets that are never known: which record is the next one is for the ledger to say, not for Faust."""

    def __getitem__(self, key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: Any) -> None:
        pass


class ConsumerOnLoop(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's wrapper of the broker's client, without the thread: it runs on the loop of those who ask it.

    A thread of its own costs two hand-overs of the interpreter for each fetch, and what it would be there for does not
    happen here: nothing holds the loop for a noticeable part of a session.
    """

    def __init__(self, consumer: "LedgerConsumer", *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **options)

    async def start(self) -> None:
        """Start on the loop. An error is the caller's."""
        self._thread_started.set()
        await self._default_start()

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        if self._started.is_set() and not self._stopped.is_set():
            self._stopped.set()
            await self._shutdown_thread()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call what another thread would have to be asked for, be it a coroutine function or not."""
        return await maybe_async(fun(*args, **options))

    async def on_start(self) -> None:
        """Start the consumer, paced."""
        await super().on_start()
        pace(self._consumer, self.app.gap)


class LedgerConsumer(driver.Consumer):  # type: ignore[misc]
    """A consumer that goes on where the ledger says, and signs partitions off before they leave."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unremembered()

    def _new_consumer_thread(self) -> ConsumerOnLoop:
        return ConsumerOnLoop(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek to the recorded positions; Faust's own bookkeeping of committed ones stays empty."""
        await self.seek_to_committed()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned source partition to where its ledger says. Called after each assignment."""
        app: ProcessorApp = self.app
        changelogs = app.tables.changelog_topics
        mine = {app.bare(tp): tp for tp in self.assignment() if tp.topic not in changelogs}
        start = await app.processor.assigned_when_possible(mine)
        offsets = {mine[partition]: offset for partition, offset in start.items()}
        await self.seek_wait(offsets)
        return offsets

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Hand what a fetch has brought to the agent as one event.

        Faust's own loop makes an event of each record, and two tasks for each besides: that costs more than deciding
        it. What is handed on during a suspension of the flow waits at the flow control and comes out stale, which the
        processor's positions notice.
        """
        while not (self._stopped.is_set() or fetcher.should_stop):
            fetched, active = await self._wait_next_records(timeout=1.0)
            if not self.flow_active:
                # Fetched on the eve of a rebalance: it will be fetched again from the recorded positions.
                continue
            records = [
                record
                for tp, batch in (fetched or {}).items()
                if active is None or tp in active or tp in self._buffered_partitions
                for record in batch
            ]
            if records:
                await self.callback(self._as_one(records))

    def _as_one(self, records: list[Any]) -> ConsumerMessage:
        """Return one message, by the partition of the last record, whose value is all of them."""
        last = records[-1]
        generation = self.app.consumer_generation_id
        place = TP(last.topic, last.partition)
        return ConsumerMessage(
            *place, last.offset, None, None, None, None, records, None, 0, 0, place, generation_id=generation
        )

    def _filter_tps_with_pending_acks(self, topics: object = None) -> Iterator[TP]:
        """Yield the partitions whose place is told to the group: for those who look at its lag, not for ourselves."""
        return iter([self.app.full(partition) for partition in self.app.processor.positions])

    def _new_offset(self, tp: TP) -> int | None:
        """Return the next offset as the ledger has it."""
        position = self.app.processor.positions.get(self.app.bare(tp))
        return position.next if position is not None and position.next > 0 else None

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the batch in hand and sign the partitions off, then let Faust do its part."""
        app: ProcessorApp = self.app
        changelogs = app.tables.changelog_topics
        await app.processor.revoked([app.bare(tp) for tp in revoked if tp.topic not in changelogs])
        await super().on_partitions_revoked(revoked)


class LedgerTransport(driver.Transport):  # type: ignore[misc]
    """The aiokafka transport with our consumer."""

    Consumer = LedgerConsumer


class ResumeAtOnce(Recovery):  # type: ignore[misc]
    """A recovery that recovers nothing: streams go on as soon as partitions are assigned."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                break
            self.signal_recovery_start.clear()
            try:
                await self._resume_streams(generation_id=self._generation_id)
            except (RebalanceAgain, IllegalStateError):
                continue
            except ServiceStopped:
                break


class CacheTables(TableManager):  # type: ignore[misc]
    """A table manager whose tables need no recovery, and no second of grace for late registrations."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = ResumeAtOnce(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Register the tables, which all exist by now, and start."""
        await self._update_channels()
        await self.recovery.start()


class CacheTable(Table):  # type: ignore[misc]
    """A table that is written outside of any event, after a commit; its changelog is for those who look on."""

    def on_key_set(self, key: str, value: bytes) -> None:
        """Note the change for the changelog."""
        self.app.changes[self._changelog, key] = value

    def on_key_del(self, key: str) -> None:
        """Note the deletion for the changelog."""
        self.app.changes[self._changelog, key] = None

    @cached_property
    def _changelog(self) -> str:
        name: str = self.changelog_topic_name
        return name.removeprefix(self.app.prefix)


class ProcessorApp(faust.App):  # type: ignore[misc]
    """One context's Faust application: one agent over all its topics, its tables, its processor."""

    processor: Processor
    prefix: str
    gap: float
    """Seconds between two fetches: what arrives meanwhile shares a transaction."""
    revision: str
    share: Share
    """How many partitions the revision may have: what the group's assignor is told when this process joins."""
    changes: dict[tuple[str, str], bytes | None]
    """Per changelog (without the prefix) and key, the newest value that has not been told yet; ``None`` is gone."""

    def _create_directories(self) -> None:
        """Create nothing: the tables live in memory."""

    def rejoin(self) -> None:
        """Join the group anew, with what the share says now."""
        thread = self.consumer._thread
        coordinator = thread._consumer._coordinator
        thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)

    def bare(self, tp: TP) -> Partition:
        """Return the partition under its topic's name without the prefix."""
        return tp.topic.removeprefix(self.prefix), tp.partition

    def full(self, partition: Partition) -> TP:
        """Return the partition as the broker names it."""
        return TP(self.prefix + partition[0], partition[1])


class FaustFetching:
    """What the processor asks of Faust's consumer."""

    def __init__(self, app: ProcessorApp) -> None:
        self._app = app

    async def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on fetching at the given offsets."""
        assigned = self._app.consumer.assignment()
        wanted = {self._app.full(partition): offset for partition, offset in offsets.items()}
        try:
            await self._app.consumer.seek_wait({tp: offset for tp, offset in wanted.items() if tp in assigned})
        except IllegalStateError:
            # A partition has just left; with the next assignment everything is sought anew.
            log.info("a rebalance came first")

    def pause(self, partitions: Collection[Partition]) -> None:
        """Stop fetching."""
        self._app.consumer.pause_partitions({self._app.full(partition) for partition in partitions})

    def resume(self, partitions: Collection[Partition]) -> None:
        """Fetch again."""
        self._app.consumer.resume_partitions({self._app.full(partition) for partition in partitions})


def table_names(context: Context[Any]) -> tuple[str, ...]:
    """Return the names of a context's Faust tables."""
    shown = context.shared.shown_as if context.shared is not None else None
    return (f"{context.name}-state", *((shown,) if shown else ()))


def changelog_topics(context: Context[Any]) -> tuple[str, ...]:
    """Return the changelog topics of a context's tables, without the prefix: they are compacted."""
    return tuple(f"{context.name}-{name}-changelog" for name in table_names(context))


def build_app(
    context: Context[Any], *, broker: str, prefix: str, partitions: int, client_id: str, revision: str, share: Share
) -> tuple[ProcessorApp, StateCache]:
    """Return the context's application and the cache over its tables; ``app.processor`` is still to be set."""
    app = ProcessorApp(
        f"{prefix}{context.name}",
        broker=f"kafka://{broker}".replace(",", ";kafka://"),
        broker_client_id=client_id,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=1.0,
        broker_max_poll_interval=300.0,
        broker_request_timeout=30.0,
        broker_commit_interval=2.8,
        producer_request_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_partitions=partitions,
        topic_disable_leader=True,
        store="memory://",
        web_enabled=False,
        Table=CacheTable,
        TableManager=CacheTables,
        PartitionAssignor=ShareAssignor,
        key_serializer="raw",
        value_serializer="raw",
    )
    app.prefix = prefix
    app.revision = revision
    app.share = share
    app.changes = {}
    app.gap = max(context.patience, GAP)
    app.transport = LedgerTransport(app.conf.broker_consumer, app)
    tables = [_table(app, name, partitions) for name in table_names(context)]
    source = app.topic(
        *(prefix + topic for topic in sorted(context.takes)),
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.agent(source, name=f"{context.name}-agent", concurrency=1)  # type: ignore[untyped-decorator]
    async def take_in(stream: Any) -> None:
        async for event in stream.noack().events():
            await app.processor.put(Delivery([_record(app, record) for record in event.value]))

    return app, StateCache(tables[0], tables[1] if len(tables) > 1 else None)


def _table(app: ProcessorApp, name: str, partitions: int) -> Any:
    schema = faust.Schema(key_type=str, value_type=bytes, key_serializer="raw", value_serializer="raw")
    return app.Table(name, partitions=partitions, schema=schema)


def _record(app: ProcessorApp, record: ConsumerRecord) -> Record:
    topic = record.topic.removeprefix(app.prefix)
    return record_of(topic, record.partition, record.offset, record.key, record.value, record.headers)
