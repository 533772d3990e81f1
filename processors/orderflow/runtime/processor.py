"""The processor: takes deliveries, makes batches of them, records them, and does what was recorded.

It stands between the shell that talks to the broker (:mod:`.worker`) and the unit of work. There is no waiting for a
batch to fill: whatever has arrived while the last transaction ran is the next batch.

A failing database or broker is no message's fault. The batch is dropped, fetching pauses, readiness says why, and when
the database answers again the partitions go on from the ledger, which alone knows what was committed.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from orderflow.runtime import ledger
from orderflow.runtime.attempts import attempted
from orderflow.runtime.broker import Fetching, Offsets, PublishFailed
from orderflow.runtime.database import RevisionRemoved, is_infrastructure_failure, reading
from orderflow.runtime.incoming import Incoming, Record, read
from orderflow.runtime.ledger import Fenced, Partition
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.positions import Place, Position
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.state_cache import StateCache
from orderflow.runtime.tasks import TaskRunner
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.telling import tell
from orderflow.runtime.unit_of_work import Done, Steps, UnitOfWork

log = structlog.get_logger(__name__)

BATCH = 200
"""Messages per transaction at the most: some 50 ms of work, far below any time-out, and few enough that the search for
one that kills the process is short."""
BUFFER = 16
"""Deliveries that may wait; each is what one fetch has brought."""
PROBE = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between looks at a database that is away; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records in the order of their partitions, and what to call when they have been dealt with."""

    records: Sequence[Record]
    done: Callable[[], None] = lambda: None


class Processor:
    """Processes the partitions that this worker is assigned, for one context."""

    def __init__(
        self,
        unit: UnitOfWork,
        engine: Engine,
        sql: Sql,
        cache: StateCache,
        outgoing: Outgoing,
        tasks: TaskRunner,
        offsets: Offsets,
        telemetry: Telemetry,
    ) -> None:
        self._unit = unit
        self._context = unit.context
        self._engine = engine
        self._sql = sql
        self._cache = cache
        self._outgoing = outgoing
        self._tasks = tasks
        self._offsets = offsets
        self._telemetry = telemetry
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue(BUFFER)
        self.busy = asyncio.Lock()
        """Held while something is recorded that the next batch must find done."""
        self.positions: dict[Partition, Position] = {}
        self.fetching: Fetching | None = None
        self.away: str = ""
        """What of the infrastructure is away, empty while nothing is."""
        self.progress = time.monotonic()
        """When something was last recorded or the assignment changed."""

    async def put(self, delivery: Delivery) -> None:
        """Take a delivery; waits while too many are waiting."""
        await self._queue.put(delivery)

    async def run(self) -> None:
        """Process until cancelled.

        Raises:
            RevisionRemoved: this revision has been removed; leave.
        """
        try:
            while True:
                await self._next_batch()
        except RevisionRemoved:
            raise
        except Exception:
            # No partition is signed off then: what has ended this process may do so again, and whoever comes goes
            # carefully.
            self.positions.clear()
            raise

    async def _next_batch(self) -> None:
        batch = [await self._queue.get()]
        records = list(batch[0].records)
        while len(records) < BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
            records += batch[-1].records
        async with self.busy:
            trouble = await self._handle(records)
        for delivery in batch:
            delivery.done()
        if trouble is not None:
            await self._sit_out(trouble)

    async def between_batches(self, work: Callable[[], Done]) -> Done:
        """Run ``work`` in the SQL thread while no batch is being made, and do what it has recorded."""
        async with self.busy:
            done = await self._sql.run(work)
            self.do(done)
        return done

    async def drain(self) -> None:
        """Finish the batch that is being made and start no other. The lock is never given back."""
        await self.busy.acquire()

    # Partitions

    async def assigned(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Take over ``partitions`` and return where to fetch each from.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, PublishFailed: the database or the broker is away.
        """
        wanted = sorted(partitions)
        async with self.busy:
            entries = await self._sql.run(self._unit.claim, wanted)
            first = await self._offsets.first_offsets(wanted) if wanted else {}
            end = await self._offsets.end_offsets(wanted) if wanted else {}
            start = {}
            for partition in wanted:
                entry = entries[partition]
                start[partition] = await self._take_over(partition, entry, first[partition], end[partition])
        self.progress = time.monotonic()
        self._telemetry.rebalances.inc()
        log.info("partitions assigned", partitions=len(wanted))
        return start

    async def assigned_when_possible(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Take over ``partitions`` as soon as the database and the broker answer."""
        for wait in itertools.chain(PROBE, itertools.repeat(PROBE[-1])):
            try:
                return await self.assigned(partitions)
            except (SQLAlchemyError, PublishFailed, OSError) as error:
                if isinstance(error, SQLAlchemyError) and not is_infrastructure_failure(error):
                    raise
                log.warning("an assignment has to wait", reason=type(error).__name__)
                await asyncio.sleep(wait)
        raise AssertionError("unreachable: the waits never end")

    async def _take_over(self, partition: Partition, entry: ledger.Entry, first: int, end: int) -> int:
        position = self.positions[partition] = Position(entry.offset)
        if entry.owner not in {None, self._unit.owner}:
            position.careful_until = min(entry.offset + BATCH, end - 1)
        if entry.offset + 1 > end:
            return await self._start_over(partition, first, "the topic is shorter than what was read of it")
        if entry.offset + 1 < first:
            if entry.last_event_id:
                self._telemetry.expired.labels(partition[0]).inc(first - entry.offset - 1)
            return await self._start_over(partition, first, "messages are gone that were never read")
        if entry.last_event_id and entry.offset >= first:
            # Read the last recorded message once more: if it is another one, so is the topic.
            position.verify = entry.last_event_id
            return entry.offset
        return position.next

    async def _start_over(self, partition: Partition, first: int, why: str) -> int:
        position = self.positions[partition]
        log.warning("starting at the earliest message", topic=partition[0], partition=partition[1], reason=why)
        self._telemetry.rewinds.labels("start-over").inc()
        if position.recorded != first - 1:
            await self._sql.run(self._unit.restart_at, partition, position.recorded, first)
        position.advance(first - 1)
        return first

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Give ``partitions`` up after the batch that is being made."""
        async with self.busy:
            mine = [partition for partition in partitions if self.positions.pop(partition, None) is not None]
            self._cache.forget(number for _, number in partitions)
            try:
                await self._sql.run(self._unit.release, mine)
            except SQLAlchemyError as error:
                # The next owner will then go carefully, which is slower and not wrong.
                log.warning("could not sign the partitions off", reason=type(error).__name__)
        self.progress = time.monotonic()

    # Batches

    async def _handle(self, batch: Sequence[Record]) -> Exception | None:
        """Record a batch; return what of the infrastructure failed, if it did."""
        try:
            await self._record_all(self._chunks(await self._sort_out(batch)))
        except (SQLAlchemyError, PublishFailed, OSError) as error:
            if isinstance(error, SQLAlchemyError) and not is_infrastructure_failure(error):
                raise
            return error
        return None

    async def _record_all(self, chunks: list[list[Incoming]]) -> None:
        """Record one transaction after another; a partition that is lost takes none of the others along."""
        while chunks:
            try:
                await self._record(chunks[0])
            except Fenced as fenced:
                self.give_up(fenced.partition)
                chunks = [rest for chunk in chunks if (rest := [i for i in chunk if _origin(i) in self.positions])]
            else:
                chunks = chunks[1:]

    async def _sort_out(self, batch: Sequence[Record]) -> list[Incoming]:
        """Return what is to be recorded, in order; see to partitions that stand elsewhere than thought."""
        taken: list[Incoming] = []
        reached: dict[Partition, int] = {}
        seen_before: dict[Partition, list[Incoming]] = {}
        rewind: set[Partition] = set()
        for record in batch:
            partition = (record.topic, record.partition)
            position = self.positions.get(partition)
            if position is None:
                continue
            place = position.place(record.offset, reached.get(partition))
            if place is Place.NEXT:
                taken.append(read(record))
                reached[partition] = record.offset
            elif place is Place.RECORDED and partition not in reached:
                seen_before.setdefault(partition, []).append(read(record))
            elif place is Place.AHEAD and (partition in reached or position.rewind()):
                # Behind records of this batch a gap is a new one, whatever was rewound before.
                rewind.add(partition)
        for partition, copies in seen_before.items():
            taken = await self._check(partition, copies, taken)
        if rewind := rewind & self.positions.keys():
            await self._rewind({partition: self.positions[partition].next for partition in sorted(rewind)})
        return taken

    async def _rewind(self, offsets: Mapping[Partition, int]) -> None:
        assert self.fetching is not None
        self._telemetry.rewinds.labels("gap").inc(len(offsets))
        log.warning("messages were skipped; reading them again", partitions=[f"{t}[{p}]" for t, p in offsets])
        await self.fetching.seek(offsets)

    async def _check(self, partition: Partition, copies: list[Incoming], taken: list[Incoming]) -> list[Incoming]:
        """Drop what was recorded before; if it was not, the topic is another one: start it over."""
        position = self.positions[partition]
        if position.verify is not None and copies[0].record.offset == position.recorded:
            same = copies[0].event_id == position.verify
            position.verify = None
        else:
            takes = self._context.takes.get(partition[0], frozenset())
            known = [copy for copy in copies if copy.message is not None and type(copy.message) in takes]
            same = not known or await self._sql.run(self._unit.are_recorded, known)
        if same:
            return taken
        first = (await self._offsets.first_offsets([partition]))[partition]
        try:
            await self._start_over(partition, first, "the topic holds other messages than those that were read")
        except Fenced:
            self.give_up(partition)
        else:
            assert self.fetching is not None
            await self.fetching.seek({partition: first})
        return [other for other in taken if _origin(other) != partition]

    def _chunks(self, taken: list[Incoming]) -> list[list[Incoming]]:
        """Return the transactions to make: all at once, but one by one where the last stop was unclean."""
        normal: list[Incoming] = []
        careful: list[Incoming] = []
        for incoming in taken:
            position = self.positions[_origin(incoming)]
            (careful if incoming.record.offset <= position.careful_until else normal).append(incoming)
        # Careful ones come first: a partition's careful offsets are its lowest.
        return [[incoming] for incoming in careful] + [normal[at : at + BATCH] for at in range(0, len(normal), BATCH)]

    async def _record(self, chunk: list[Incoming]) -> None:
        if chunk[0].record.offset <= self.positions[_origin(chunk[0])].careful_until:
            chunk = [await attempted(chunk[0], self.positions[_origin(chunk[0])], self._unit, self._sql)]
        started = time.perf_counter()
        steps = self._steps(chunk)
        keys = {incoming.key for incoming in chunk}
        acknowledged = self._outgoing.take_acknowledged()
        done = await self._sql.run(
            self._unit.process,
            chunk,
            steps,
            cached=self._cache.entries(keys),
            acknowledged=acknowledged,
        )
        self._outgoing.marked(acknowledged)
        for partition, (_, offset, _) in steps.items():
            self.positions[partition].advance(offset)
        self.progress = time.monotonic()
        self.do(done)
        tell(self._telemetry, done, size=len(chunk), seconds=time.perf_counter() - started, now=self._unit.clock.now())

    def _steps(self, chunk: Sequence[Incoming]) -> Steps:
        steps: dict[Partition, tuple[int, int, str]] = {}
        for incoming in chunk:
            partition = _origin(incoming)
            steps[partition] = (self.positions[partition].recorded, incoming.record.offset, incoming.event_id)
        return steps

    def do(self, done: Done) -> None:
        """Do what a transaction has recorded."""
        self._outgoing.hand_over(done.outbox, done.blocked)
        partitions = {incoming.key: incoming.record.partition for incoming, _ in done.outcomes}
        live = {key: self._context.is_live(state) for key, (state, _) in done.states.items()}
        self._cache.update(done.states, partitions, live)
        self._cache.show(done.shared)
        self._tasks.start_now(done.calls)

    # Faults

    def give_up(self, partition: Partition) -> None:
        """Leave a partition to its new owner."""
        log.warning("fenced: another process has the partition", topic=partition[0], partition=partition[1])
        self.positions.pop(partition, None)
        if self.fetching is not None:
            self.fetching.pause([partition])

    async def _sit_out(self, trouble: Exception) -> None:
        """Pause until the database and the broker answer; then go on from what the ledger says."""
        what = "broker" if isinstance(trouble, PublishFailed) else "database"
        self.away = what
        self._telemetry.paused.labels(what).set(1)
        log.warning("paused: the infrastructure is away", what=what, reason=type(trouble).__name__)
        assert self.fetching is not None
        self.fetching.pause(list(self.positions))
        waits = itertools.chain(PROBE, itertools.repeat(PROBE[-1]))
        # A rebalance may come meanwhile: the lock is free but for the moment of looking.
        while not await self._go_on():
            self._drop_queue()
            await asyncio.sleep(next(waits))
        self.away = ""
        self.progress = time.monotonic()
        self._telemetry.paused.labels(what).set(0)
        log.info("resumed", what=what)

    async def _go_on(self) -> bool:
        """Take every partition's place from the ledger and fetch from there; tell whether that could be done."""
        assert self.fetching is not None
        async with self.busy:
            mine = sorted(self.positions)
            try:
                entries = await self._sql.run(self._ledger_of, mine)
                await self._offsets.end_offsets(mine)
            except (SQLAlchemyError, OSError, PublishFailed):
                return False
            self._drop_queue()
            for partition in mine:
                entry = entries.get(partition)
                if entry is None or entry.owner != self._unit.owner:
                    self.give_up(partition)
                else:
                    self.positions[partition].advance(entry.offset)
            self._cache.forget(number for _, number in mine)
            await self.fetching.seek({partition: position.next for partition, position in self.positions.items()})
            self.fetching.resume(list(self.positions))
        return True

    def _drop_queue(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait().done()

    def _ledger_of(self, partitions: Sequence[Partition]) -> Mapping[Partition, ledger.Entry]:
        with reading(self._engine) as connection:
            return ledger.read(connection, self._unit.group, partitions)


def _origin(incoming: Incoming) -> Partition:
    return incoming.record.topic, incoming.record.partition
