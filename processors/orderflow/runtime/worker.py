"""One process of one context: everything wired together, started in order, and stopped in the opposite one.

Start: database (migrated, and this revision allowed), broker, outgoing, then Faust. Stop, on SIGTERM: stop taking,
finish the batch, publish, end the calls, sign the partitions off, leave the group.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from orderflow.contracts.envelope import Message
from orderflow.providers.protocol import Provider
from orderflow.runtime import outbox, task_rows
from orderflow.runtime.admission import LOOK_EVERY, OUT_OF_THE_GROUP, Admission
from orderflow.runtime.automatic_replay import EVERY as POLICIES_EVERY
from orderflow.runtime.broker import OutboxRow, PublishFailed
from orderflow.runtime.clock import Clock, SystemClock
from orderflow.runtime.context import Context
from orderflow.runtime.database import (
    RevisionRemoved,
    assert_allowed,
    is_infrastructure_failure,
    open_database,
    reading,
)
from orderflow.runtime.faust_app import FaustFetching, build_app
from orderflow.runtime.garbage import look_rarely
from orderflow.runtime.health import Check, HealthServer
from orderflow.runtime.history import KafkaHistory
from orderflow.runtime.kafka import KafkaBroker
from orderflow.runtime.ledger import Partition
from orderflow.runtime.letter_policy import DeadLetterRules
from orderflow.runtime.letters import Standing, standing
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.preparing import NotMigrated, prepare, wait_for_migration
from orderflow.runtime.processor import Processor
from orderflow.runtime.readmitting import EVERY as READMIT_EVERY
from orderflow.runtime.readmitting import Readmitting
from orderflow.runtime.relay import EVERY as RELAY_EVERY
from orderflow.runtime.relay import Relay
from orderflow.runtime.retention import Keeping
from orderflow.runtime.sampling import Sampling
from orderflow.runtime.schema import decisions, owner_name
from orderflow.runtime.second_opinion import EVERY as OPINION_EVERY
from orderflow.runtime.second_opinion import SecondOpinion
from orderflow.runtime.share import Share
from orderflow.runtime.sql_thread import sql_for
from orderflow.runtime.tasks import TaskRunner
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork
from orderflow.runtime.upkeep import DROP_EVERY, REPLAY_EVERY, Upkeep

log = structlog.get_logger(__name__)

DUE_EVERY = 0.25
"""Seconds between looks for due tasks: what a timer or a retry is late at the most."""
CLAIMS_EVERY = 3.0
GAUGES_EVERY = 2.0
CHANGES_EVERY = 0.25
"""Seconds between two looks at what the changelogs have to be told: of a key that changed often, the newest value."""
STUCK_AFTER = 60.0
"""Seconds without progress, with messages waiting, until a worker counts as stuck."""
SILENT_AFTER = 20.0
"""Seconds after which one partition with messages waiting, beside others that go on, is fetched anew: several times
what the slowest batch and a rebalance take."""
LEAVE_AFTER = 90.0
"""A stuck worker ends itself then, where nobody acts on its liveness."""
STEPS_BACK, STEPS_BACK_IF_PATIENT = 3, 10
"""How nice a worker is to others on its cores: the broker and whoever answers requests come first, and what nobody
waits for comes last."""
REMOVED = 78
"""Exit status of a process whose revision has been removed (EX_CONFIG): starting it again does not help."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a worker needs to know.

    Attributes:
        instance: its name among its context's workers, unique while it lives: ``payment-0``.
        prefix: put before every topic's and group's name.
        prepare: run in one transaction before the worker joins; returns messages to send.
        keeping: for how long what was recorded is kept; without it, for ever.
        migrates: whether it brings its database up to date itself, or waits until somebody has.
        share: how many partitions its revision may have; while that is none it stays out of the group.
    """

    context: Context[Any]
    instance: str
    broker: str
    prefix: str
    partitions: int
    database_url: str
    durability: str
    revision: str
    host: str
    port: int
    providers: Mapping[str, Provider] = field(default_factory=dict)
    prepare: Callable[[Connection], Sequence[Message]] | None = None
    dead_letters: DeadLetterRules = field(default_factory=DeadLetterRules)
    keeping: Keeping | None = None
    migrates: bool = True
    share: Share = field(default_factory=Share)


class Worker:
    """Runs one context in this process."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._owner = owner_name(settings.instance, uuid4())
        self._engine = open_database(settings.database_url, settings.durability)
        self._sql = sql_for(self._engine, settings.instance)
        self._telemetry = Telemetry(settings.context.name)
        self._admission = Admission(settings.share, self._engine, settings.revision, self._telemetry)
        self._broker = KafkaBroker(settings.broker, settings.prefix, settings.instance)
        self._stop = asyncio.Event()
        self._status = 0
        self._checks: dict[str, Check] = {
            name: Check(name, ok=False, detail="starting") for name in ("migrations", "database", "broker", "relay")
        }
        self._build()

    def _build(self) -> None:
        settings, context = self.settings, self.settings.context
        self._app, cache = build_app(
            context,
            broker=settings.broker,
            prefix=settings.prefix,
            partitions=settings.partitions,
            client_id=settings.instance,
            revision=settings.revision,
            share=settings.share,
        )
        self._outgoing = Outgoing(self._broker, self._engine, self._sql, self._clock)
        self._unit = UnitOfWork(
            context, self._engine, owner=self._owner, revision=settings.revision, clock=self._clock, sampling=Sampling()
        )
        self._tasks = TaskRunner(
            context,
            self._engine,
            self._sql,
            self._broker,
            settings.providers,
            self._outgoing,
            self._clock,
            self._telemetry,
            owner=self._owner,
            revision=settings.revision,
            partitions=settings.partitions,
        )
        self._relay = Relay(self._broker, self._engine, self._sql, self._clock, self._outgoing)
        self.processor = Processor(
            self._unit,
            self._engine,
            self._sql,
            cache,
            self._outgoing,
            self._tasks,
            self._broker,
            self._telemetry,
        )
        self._letters = Readmitting(self._unit, settings.dead_letters, self.processor, self._sql, self._telemetry)
        self._opinion = SecondOpinion(self._unit, self._sql, self._telemetry, settings.dead_letters.quarantine_after)
        history = KafkaHistory(settings.broker, settings.prefix, settings.instance)
        self._upkeep = Upkeep(
            self._unit, self.processor, self._sql, self._broker, history, self._telemetry, keeping=settings.keeping
        )
        self._fetching = FaustFetching(self._app)
        self.processor.fetching = self._fetching
        self._silent: dict[Partition, tuple[int, float]] = {}
        self._app.processor = self.processor
        self._health = HealthServer(
            settings.host, settings.port, self._liveness, self._readiness, self._telemetry.registry
        )

    async def run(self) -> int:
        """Run until told to stop, and return the exit status.

        Raises:
            Exception: what ended the worker against its will.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self._health.start()
        jobs: list[asyncio.Task[None]] = []
        try:
            if await self._unless_stopped(self._start()):
                jobs = [asyncio.create_task(job, name=name) for name, job in self._jobs().items()]
                await self._wait_for_the_end(jobs)
        except RevisionRemoved as removed:
            log.error("leaving", reason=str(removed))
            self._status = REMOVED
        finally:
            await self._shut_down(jobs)
        return self._status

    async def _unless_stopped(self, work: Awaitable[None]) -> bool:
        """Await ``work`` or the signal to stop; tell whether the work was done."""
        doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return False

    async def _start(self) -> None:
        await self._admission.granted(self._see_that_it_works)
        rows = await self._patiently("database", self._open)
        self._passed("migrations")
        self._passed("database")
        await self._patiently("broker", self._connect)
        await self._outgoing.start()
        self._outgoing.hand_over(rows)
        await self._app.start()
        self._passed("broker")
        log.info("running", instance=self.settings.instance, revision=self.settings.revision)

    async def _open(self) -> tuple[OutboxRow, ...]:
        # Migrating takes a second: in a thread, so that it can be told to stop and says how it is.
        return await asyncio.to_thread(self._open_database)

    def _open_database(self) -> tuple[OutboxRow, ...]:
        settings = self.settings
        if settings.migrates:
            prepare(settings.context.name, settings.database_url, settings.revision, self._engine, self._clock.now())
        else:
            wait_for_migration(settings.context.name, self._engine)
        with self._engine.begin() as connection:
            assert_allowed(connection, settings.revision)
            task_rows.free(connection, self._owner)
            kept = connection.scalar(select(func.count()).select_from(decisions)) or 0
            self._unit.sampling.kept = kept
            messages = self.settings.prepare(connection) if self.settings.prepare is not None else ()
            return outbox.insert(connection, [(message, None) for message in messages], self._clock.now())

    async def _connect(self) -> None:
        context = self.settings.context
        await self._broker.start()
        wanted = {*context.takes, context.command_topic}
        await self._broker.end_offsets([(topic, self.settings.partitions - 1) for topic in sorted(wanted)])

    async def _see_that_it_works(self) -> None:
        await self._patiently("database", lambda: asyncio.to_thread(self._admission.may_write))
        await self._patiently("broker", self._connect)

    async def _follow_share(self) -> None:
        if self._admission.withdrawn(self._app.rejoin):
            self._status = OUT_OF_THE_GROUP
            self._stop.set()

    async def _patiently(self, what: str, step: Callable[[], Awaitable[Any]]) -> Any:
        """Repeat ``step`` while the infrastructure it needs is away, and say so in readiness."""
        for wait in itertools.chain((0.1, 0.2, 0.5), itertools.repeat(1.0)):
            try:
                return await step()
            except (SQLAlchemyError, KafkaError, PublishFailed, OSError) as error:
                if isinstance(error, SQLAlchemyError) and not is_infrastructure_failure(error):
                    raise
                reason = str(error) if isinstance(error, NotMigrated) else f"{type(error).__name__}: not reachable"
                self._failed(what, reason)
                log.warning("waiting", what=what, reason=type(error).__name__)
                await asyncio.sleep(wait)
        raise AssertionError("itertools.repeat ends never")

    def _jobs(self) -> dict[str, Any]:
        jobs = {
            "processor": self.processor.run(),
            "tasks": self._every(DUE_EVERY, self._tasks.run_due_once),
            "settling": self._every(0, self._tasks.settle_when_any),
            "claims": self._every(CLAIMS_EVERY, self._tasks.keep_claims),
            "relay": self._every(RELAY_EVERY, self._relay_if_anchor),
            "dead letters": self._every(READMIT_EVERY, self._letters.look_once),
            "policies": self._every(POLICIES_EVERY, self._letters.follow_policies_if_anchor),
            "retention": self._every(DROP_EVERY, self._upkeep.drop),
            "replay": self._every(REPLAY_EVERY, self._upkeep.replay),
            "gauges": self._every(GAUGES_EVERY, self._measure),
            "changes": self._every(CHANGES_EVERY, self._tell_changes),
            "faust": self._app.wait_until_stopped(),
        }
        if self.settings.share.is_watched:
            jobs["share"] = self._every(LOOK_EVERY, self._follow_share)
            jobs["second opinion"] = self._every(OPINION_EVERY, self._opinion.look_once)
        return jobs

    async def _every(self, seconds: float, step: Callable[[], Awaitable[Any]]) -> None:
        """Repeat ``step``; a database or broker that is away is waited for."""
        while True:
            try:
                await step()
            except (SQLAlchemyError, PublishFailed, OSError) as error:
                if isinstance(error, SQLAlchemyError) and not is_infrastructure_failure(error):
                    raise
                self._failed("database" if isinstance(error, SQLAlchemyError) else "broker", type(error).__name__)
                await asyncio.sleep(max(seconds, 1.0))
            else:
                await asyncio.sleep(seconds)

    async def _wait_for_the_end(self, jobs: Sequence[asyncio.Task[None]]) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait({stopping, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for job in jobs:
            if job not in done:
                continue
            job.result()
            raise RuntimeError(f"{job.get_name()} ended by itself")

    async def _shut_down(self, jobs: Sequence[asyncio.Task[None]]) -> None:
        log.info("stopping", instance=self.settings.instance)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.processor.drain(), 10.0)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._upkeep.close()
        await self._tasks.stop()
        await self._outgoing.stop()
        with contextlib.suppress(SQLAlchemyError):
            await self._sql.run(self._unit.release, list(self.processor.positions))
        self.processor.positions.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._app.stop(), 10.0)
        self._admission.left()
        await self._broker.stop()
        await self._health.stop()
        self._sql.close()
        self._engine.dispose()
        log.info("stopped", instance=self.settings.instance)

    # What is looked at from outside

    async def _relay_if_anchor(self) -> None:
        if (self.settings.context.command_topic, 0) in self.processor.positions:
            while await self._relay.publish_once() > 0:
                pass
        self._passed("relay")

    async def _tell_changes(self) -> None:
        changes, self._app.changes = self._app.changes, {}
        self._broker.tell(changes.items())

    async def _measure(self) -> None:
        positions = {partition: position.recorded for partition, position in self.processor.positions.items()}
        try:
            depth, oldest, letters = await self._sql.run(self._count)
            ends = await self._broker.end_offsets(sorted(positions)) if positions else {}
        except (SQLAlchemyError, PublishFailed):
            # Nobody can make progress meanwhile, and nobody is to be restarted for it.
            self.processor.progress = time.monotonic()
            raise
        self._passed("database")
        self._passed("broker")
        self._telemetry.outbox_depth.set(depth)
        age = (self._clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        self._telemetry.outbox_age.set(age)
        self._telemetry.letters_stand(letters)
        commands = self.settings.context.command_topic
        self._telemetry.assigned.set(sum(topic == commands for topic, _ in positions))
        waiting = {}
        for partition, recorded in positions.items():
            lag = max(0, ends[partition] - recorded - 1)
            self._telemetry.lag.labels(partition[0], str(partition[1])).set(lag)
            if lag:
                waiting[partition] = recorded
        await self._look_for_silence(waiting)

    async def _look_for_silence(self, waiting: dict[Partition, int]) -> None:
        """Fetch a partition anew that has had messages waiting for long and recorded none; leave if nothing helps."""
        now = time.monotonic()
        if not waiting or self.processor.away:
            self.processor.progress = now
            self._silent.clear()
            return
        if now - self.processor.progress > LEAVE_AFTER:
            raise RuntimeError(f"stuck: messages wait in {len(waiting)} partitions and none was recorded for long")
        self._silent = {
            partition: since if (since := self._silent.get(partition)) and since[0] == recorded else (recorded, now)
            for partition, recorded in waiting.items()
        }
        silent = {partition: at[0] + 1 for partition, at in self._silent.items() if now - at[1] > SILENT_AFTER}
        if silent:
            named = [f"{topic}[{number}]" for topic, number in silent]
            log.warning("fetching silent partitions anew", partitions=named)
            self._telemetry.rewinds.labels("silence").inc(len(silent))
            for partition in silent:
                del self._silent[partition]
            await self._fetching.seek(silent)

    def _count(self) -> tuple[int, datetime | None, Standing]:
        with reading(self._engine) as connection:
            depth, oldest = outbox.depth(connection)
            return depth, oldest, standing(connection, self.settings.dead_letters.quarantine_after)

    def _passed(self, name: str) -> None:
        self._checks[name] = Check(name, ok=True)

    def _failed(self, name: str, detail: str) -> None:
        self._checks[name] = Check(name, ok=False, detail=detail)

    def _readiness(self) -> list[Check]:
        if self._admission.waiting:
            return [self._admission.check()]
        checks = dict(self._checks)
        if self.processor.away:
            checks[self.processor.away] = Check(self.processor.away, ok=False, detail="away; paused")
        if self._outgoing.failing_since is not None:
            checks["relay"] = Check("relay", ok=False, detail="the broker does not acknowledge")
        assigned = len(self.processor.positions)
        joined = self._app.started and not self._app.rebalancing
        checks["assignment"] = Check("assignment", ok=joined, detail=f"{assigned} partitions")
        return list(checks.values())

    def _liveness(self) -> list[Check]:
        if self._admission.waiting:
            return [self._admission.check()]
        idle = time.monotonic() - self.processor.progress
        return [Check("progress", ok=idle < STUCK_AFTER, detail=f"last {idle:.0f} s ago")]


def run_worker(settings: Settings) -> int:
    """Run a worker in a new event loop and return its exit status."""
    import uvloop  # noqa: PLC0415 - not where a test runs the worker in a loop of its own

    os.nice(STEPS_BACK_IF_PATIENT if settings.context.patience else STEPS_BACK)

    async def main() -> int:
        worker = Worker(settings)
        look_rarely()
        return await worker.run()

    # Faust runs its consumer in a thread with a loop of its own: that one too shall be the fast kind.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return asyncio.run(main())
