"""The Faust application of one context, with the three things that Faust must not do on its own.

- It must not say where a partition stands: positions come from the ledger (:class:`LedgerConsumer`).
- It must not restore tables: they are caches (:class:`ResumeAtOnce`). Restoring is also what was seen to leave a
  worker silent after a rebalance.
- It must not decide what an exception means: the agent hands every event on, undecoded, and never raises.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import faust
import structlog
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT
from mode import Service, ServiceT

from orderflow.runtime.broker import partition_of
from orderflow.runtime.context import Context
from orderflow.runtime.incoming import Record, record_of
from orderflow.runtime.ledger import Partition
from orderflow.runtime.processor import Delivery, Processor
from orderflow.runtime.state_cache import StateCache

SESSION_SECONDS = 6.0
"""The least a broker allows by default: a killed worker's partitions move after that long."""


log = structlog.get_logger(__name__)

GAP = 0.004
"""Seconds between two fetches of a context that somebody waits for. The first message after a pause is fetched at once;
under load a transaction's fixed cost, some 2 ms, is shared by what comes within this time."""


class _Unremembered(defaultdict[TP, Any]):
    """Read offsets that are never known: which record is the next one is for the ledger to say, not for Faust."""

    def __getitem__(self, key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: Any) -> None:
        pass


class LedgerConsumer(driver.Consumer):  # type: ignore[misc]
    """A consumer that goes on where the ledger says, and signs partitions off before they leave."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unremembered()

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
        """Hand every fetched record to its channel, one await each.

        Faust's own loop waits for each record and for a suspension of the flow at once, which makes two tasks a record
        and costs more than deciding it. A record that is handed on during a suspension waits at the flow control and
        comes out stale, which the processor's positions notice.
        """
        hand_on = self.callback
        while not (self._stopped.is_set() or fetcher.should_stop):
            records, active = await self._wait_next_records(timeout=1.0)
            if not self.flow_active:
                # Fetched on the eve of a rebalance: it will be fetched again from the recorded positions.
                continue
            generation = self.app.consumer_generation_id
            for tp, record in self.scheduler.iterate(records or {}):
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    break
                if active is None or tp in active or tp in self._buffered_partitions:
                    await hand_on(self._to_message(tp, record))
            await asyncio.sleep(self.app.gap)

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
    """A table that is written outside of any event, after a commit: the changelog's partition follows from the key."""

    def partition_for_key(self, key: str) -> int:
        """Return the partition that the key's messages come by."""
        return partition_of(key, self.partitions)


class ProcessorApp(faust.App):  # type: ignore[misc]
    """One context's Faust application: one agent over all its topics, its tables, its processor."""

    processor: Processor
    prefix: str
    gap: float
    """Seconds between two fetches: what arrives meanwhile shares a transaction."""

    def _create_directories(self) -> None:
        """Create nothing: the tables live in memory."""

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
    context: Context[Any], *, broker: str, prefix: str, partitions: int, client_id: str
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
        # The changelogs' alone: they are for information, and a request each would cost more than the decisions.
        producer_linger=0.1,
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
        key_serializer="raw",
        value_serializer="raw",
    )
    app.prefix = prefix
    app.gap = max(context.patience, GAP)
    app.transport = LedgerTransport(app.conf.broker_consumer, app)
    tables = [_table(app, name, partitions) for name in table_names(context)]
    source = app.topic(
        *(prefix + topic for topic in sorted(context.takes)),
        key_serializer="raw",
        value_serializer="raw",
        key_type=bytes,
        value_type=bytes,
    )

    @app.agent(source, name=f"{context.name}-agent", concurrency=1)  # type: ignore[untyped-decorator]
    async def take_in(stream: Any) -> None:
        async for event in stream.noack().events():
            await app.processor.put(Delivery(_record(app, event), event.ack))

    return app, StateCache(tables[0], tables[1] if len(tables) > 1 else None)


def _table(app: ProcessorApp, name: str, partitions: int) -> Any:
    schema = faust.Schema(key_type=str, value_type=bytes, key_serializer="raw", value_serializer="raw")
    return app.Table(name, partitions=partitions, schema=schema)


def _record(app: ProcessorApp, event: EventT) -> Record:
    message = event.message
    headers = message.headers
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    topic = message.topic.removeprefix(app.prefix)
    return record_of(topic, message.partition, message.offset, message.key, message.value, pairs)
