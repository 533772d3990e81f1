"""A simulated worker: wired as the real one is, with the simulated clock, broker and providers in its seams.

It mirrors :class:`orderflow.runtime.worker.Worker` and the Faust application around it, and nothing below them. Where
the real worker looks every so often, this one looks when there is something to see, and no sooner: virtual time is free
and looking is not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from orderflow.contracts.envelope import Message
from orderflow.runtime import outbox, task_rows
from orderflow.runtime.broker import OutboxRow, PublishFailed
from orderflow.runtime.database import RevisionRemoved, assert_allowed, is_infrastructure_failure
from orderflow.runtime.ledger import Partition
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.processor import Processor
from orderflow.runtime.relay import EVERY as RELAY_EVERY
from orderflow.runtime.relay import Relay
from orderflow.runtime.state_cache import MemoryTable, StateCache
from orderflow.runtime.tasks import TaskRunner
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork
from orderflow.runtime.worker import CLAIMS_EVERY, DUE_EVERY
from orderflow.simulation.alarm import Alarm
from orderflow.simulation.fetching import Fetcher
from orderflow.simulation.group import Group
from orderflow.simulation.life import Life
from orderflow.simulation.outside import OutsideLine
from orderflow.simulation.process import Place, Process
from orderflow.simulation.watching import Watch

GAP = 0.004
"""Seconds between two fetches of a context that somebody waits for: fewer than in the Faust application, for
more batches in a run of a few orders."""


class WatchedCache(StateCache):
    """A cache of which is noted when it was about to be wrong."""

    def __init__(
        self,
        table: MemoryTable,
        shown: MemoryTable | None,
        is_stale: Callable[[str, bytes], bool],
        reach: Callable[[str], None],
    ) -> None:
        super().__init__(table, shown)
        self._is_stale = is_stale
        self._reach = reach

    def entries(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the entries of those ``keys`` that are in the cache."""
        found = super().entries(keys)
        if any(self._is_stale(key, entry) for key, entry in found.items()):
            self._reach("stale cache noticed")
        return found


class WatchedOutgoing(Outgoing):
    """A fast path of which is seen what it is handed, right after the commit.

    Attributes:
        commits: how often anybody has committed to its database.
    """

    seen: Callable[[OutboxRow], None]
    commits: Callable[[], int]
    _last_look: tuple[int, set[str], set[str]] = (-1, set(), set())

    def _unmarked(self, event_ids: set[str]) -> set[str]:
        # A look finds nothing new where nobody has committed since the last.
        at, asked, still = self._last_look
        if at != self.commits() or not event_ids <= asked:
            still = super()._unmarked(event_ids)
            self._last_look = (self.commits(), event_ids, still)
        return still & event_ids

    def hand_over(self, rows: Sequence[OutboxRow], blocked: Mapping[str, set[str]] | None = None) -> None:
        """Take rows that have been committed."""
        for row in rows:
            self.seen(row)
        super().hand_over(rows, blocked)


@cache
def telemetry_of(context: str) -> Telemetry:
    """Return the metrics of a context, which all of its workers in all runs share: nobody reads them."""
    return Telemetry(context)


class Worker(Process):
    """One worker of one context, for one life.

    Args:
        prepare: run in one transaction before the worker joins; returns messages to send.
    """

    def __init__(
        self,
        place: Place,
        life: Life,
        revision: str,
        group: Group,
        providers: Mapping[str, OutsideLine],
        watch: Watch,
        *,
        prepare: Callable[[Connection], Sequence[Message]] | None,
    ) -> None:
        super().__init__(place, life, revision)
        context, engine = place.context, place.engine
        self._group = group
        self._lines = providers
        self._watch = watch
        self._prepare = prepare
        telemetry = telemetry_of(context.name)
        shown = MemoryTable() if context.shared is not None and context.shared.shown_as else None
        self.cache = WatchedCache(MemoryTable(), shown, partial(watch.is_stale, context.name), self._story.reach)
        self.outgoing = WatchedOutgoing(self.line, engine, self._sql, life.clock)
        self.outgoing.seen = partial(watch.sent, context.name)
        self.outgoing.commits = partial(watch.commits.__getitem__, context.name)
        self._unit = UnitOfWork(context, engine, owner=life.owner, revision=revision, clock=life.clock)
        self._tasks = TaskRunner(
            context,
            engine,
            self._sql,
            self.line,
            providers,
            self.outgoing,
            life.clock,
            telemetry,
            owner=life.owner,
            revision=revision,
            partitions=place.topics.partitions,
        )
        self._relay = Relay(self.line, engine, self._sql, life.clock, self.outgoing)
        self.processor = Processor(
            self._unit, engine, self._sql, self.cache, self.outgoing, self._tasks, self.line, telemetry
        )
        self.fetcher = Fetcher(place.topics, life, self.processor, max(context.patience, GAP), self._story)
        self.processor.fetching = self.fetcher
        self._moving = asyncio.Lock()
        self._due = Alarm()
        self._relaying = Alarm()
        self._claims = Alarm()
        for line in providers.values():
            line.at_start = self._keep_claims_later
        life.stir = group.stir
        life.at_end.append(lambda: group.leave(self))

    def start(self) -> None:
        """Begin."""
        super().start()
        self.life.spawn(self._guarded(self._start()))

    async def _start(self) -> None:
        rows = await self._patiently(lambda: self._sql.run(self._open))
        await self.outgoing.start()
        self.outgoing.hand_over(rows)
        jobs: tuple[Awaitable[None], ...] = (
            self.processor.run(),
            self._every(0, self._tasks.settle_when_any),
            self._when(self._due, self._run_due),
            self._when(self._claims, self._keep_claims),
            self._when(self._relaying, self._relay_if_anchor),
            self.fetcher.run(),
        )
        for job in jobs:
            self.life.spawn(self._guarded(job))
        self.expect_due()
        self.expect_relay()
        self._group.join(self)

    def _open(self) -> tuple[OutboxRow, ...]:
        with self._engine.begin() as connection:
            assert_allowed(connection, self.revision)
            task_rows.free(connection, self.life.owner)
            messages = self._prepare(connection) if self._prepare is not None else ()
            return outbox.insert(connection, [(message, None) for message in messages], self.life.clock.now())

    async def stop(self) -> None:
        """End as on SIGTERM: finish the batch, publish, end the calls, sign the partitions off, leave the group."""
        self._note("stops")
        with suppress(TimeoutError):
            await asyncio.wait_for(self.processor.drain(), 10.0)
        await self._tasks.stop()
        await self.outgoing.stop()
        with suppress(SQLAlchemyError):
            await self._sql.run(self._unit.release, list(self.processor.positions))
        self.processor.positions.clear()
        self.life.end()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except RevisionRemoved:
            self.leave()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            named = f"{self.life.owner} was ended by {type(error).__name__}: {error}"
            self._story.breach(f"process-goes-on: {named}".partition("\n")[0])
            self.life.end()

    # As a member of its group

    @property
    def is_silent(self) -> bool:
        """Whether it does not answer."""
        return not self.life.alive or self.life.paused

    async def give_up(self) -> None:
        """Give up every partition after the batch that is being made."""
        await self.life.spawn(self._guarded(self._give_up()))

    async def _give_up(self) -> None:
        await self.life.gate()
        async with self._moving:
            if self.processor.busy.locked() and self.processor.positions:
                self._story.reach("rebalance in the middle of a batch")
            mine = list(self.processor.positions)
            self.fetcher.drop()
            await self.processor.revoked(mine)

    async def take(self, partitions: Collection[Partition]) -> None:
        """Take over ``partitions``, from where the ledger says."""
        await self.life.spawn(self._guarded(self._take(partitions)))

    async def _take(self, partitions: Collection[Partition]) -> None:
        async with self._moving:
            start = await self.processor.assigned_when_possible(partitions)
            self.fetcher.take(start)
        if any(position.is_careful for position in self.processor.positions.values()):
            self._story.reach("partition taken over carefully after an unclean stop")
        named = " ".join(f"{topic}[{number}]@{start[topic, number]}" for topic, number in sorted(start))
        self._note(f"takes over {named or 'nothing'}")
        self.expect_relay()

    async def notice(self) -> None:
        """Learn, having stood still for too long, that others have its partitions, and ask for some again."""
        await self.life.gate()
        self._note("learns that it was left out")
        await self.give_up()
        if not self._group.is_in(self):
            self._group.join(self)

    # What it looks at

    def expect_due(self) -> None:
        """Look for due tasks when there will be one."""
        seconds = self._watch.due_in(self.context.name, self.life.clock)
        if seconds is not None:
            self._due.within(max(seconds, 0.0) + self.life.span("due", 0.001, DUE_EVERY))

    def expect_relay(self) -> None:
        """Look for unpublished rows with the next look of the relay."""
        now = asyncio.get_running_loop().time()
        # Never now: what this look has not published, the same look again would not publish either.
        self._relaying.within(RELAY_EVERY - now % RELAY_EVERY + 0.001)

    def _keep_claims_later(self) -> None:
        self._claims.within(CLAIMS_EVERY)

    async def _run_due(self) -> None:
        seconds = self._watch.due_in(self.context.name, self.life.clock)
        # What this was asked for may have been ended since.
        if seconds is not None and seconds <= 0.0:
            await self._tasks.run_due_once()
        self.expect_due()

    async def _keep_claims(self) -> None:
        await self._tasks.keep_claims()
        if any(line.under_way for line in self._lines.values()):
            self._keep_claims_later()

    async def _relay_if_anchor(self) -> None:
        is_anchor = (self.context.command_topic, 0) in self.processor.positions
        if is_anchor and self._watch.anything_waits(self.context.name):
            while await self._relay.publish_once() > 0:
                self._story.reach("lost publication relayed")
            if self._watch.anything_waits(self.context.name):
                self.expect_relay()

    async def _when(self, alarm: Alarm, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await alarm.wait()
            if not await self._survives(step):
                alarm.within(1.0)

    async def _every(self, seconds: float, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            survived = await self._survives(step)
            await asyncio.sleep(seconds if survived else max(seconds, 1.0))

    async def _survives(self, step: Callable[[], Awaitable[object]]) -> bool:
        try:
            await step()
        except (SQLAlchemyError, PublishFailed, OSError) as error:
            if isinstance(error, SQLAlchemyError) and not is_infrastructure_failure(error):
                raise
            return False
        return True

    async def _patiently(self, step: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await step()
            except SQLAlchemyError as error:
                if not is_infrastructure_failure(error):
                    raise
                await asyncio.sleep(0.2)
