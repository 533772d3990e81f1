"""The task runner: makes the calls and wakes the timers that decisions have asked for.

A call is made under its idempotency key until a definitive answer ends it; the answer becomes a message to the
context's own command topic in the transaction that ends the task. Nothing but a definitive answer, or the decision that
ends the task, is an end: a call that failed is made again later, one whose outcome is unclear is asked after by its key
first, one whose provider's breaker is open is postponed and spends no attempt.

A timer that waits for an answer is held back while its request is unpublished, and until the context has read what
stood in the reply topics when the timer came due: a backlog is no failure.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from orderflow.contracts import codec
from orderflow.contracts.decision import Call
from orderflow.contracts.envelope import Message
from orderflow.providers.protocol import Provider, ProviderAnswer, ProviderRequest, Unavailable, Unclear
from orderflow.runtime import ledger, outbox, task_rows
from orderflow.runtime.broker import Broker, OutboxRow, PublishFailed, partition_of
from orderflow.runtime.clock import Clock
from orderflow.runtime.context import Context
from orderflow.runtime.database import RevisionRemoved, assert_allowed, is_infrastructure_failure, reading
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.policy import STEADY_BACKOFF, Breaker, backoff
from orderflow.runtime.recorder import LEASE
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.task_rows import StoredTimer, Task
from orderflow.runtime.telemetry import Telemetry

log = structlog.get_logger(__name__)

CALL_TIMEOUT = 10.0
"""Seconds until a call counts as lost (order-processing-walkthrough, section 5)."""
AT_ONCE = 256
"""Tasks claimed per look."""
POOL = 256
"""Calls at once per provider: a carrier that takes three seconds on average is then good for 85 orders a second."""
BACKLOG = timedelta(milliseconds=500)
"""How long a timer is postponed for what it has to wait for."""


@dataclass(frozen=True, slots=True)
class _Answered:
    task: Task
    message: Message


@dataclass(frozen=True, slots=True)
class _Postponed:
    task: Task
    due_at: datetime
    error: str | None


_Settlement = _Answered | _Postponed


class TaskRunner:
    """Runs the tasks that this process has claimed."""

    def __init__(
        self,
        context: Context[Any],
        engine: Engine,
        sql: Sql,
        broker: Broker,
        providers: Mapping[str, Provider],
        outgoing: Outgoing,
        clock: Clock,
        telemetry: Telemetry,
        *,
        owner: str,
        revision: str,
        partitions: int,
    ) -> None:
        self._context = context
        self._engine = engine
        self._sql = sql
        self._broker = broker
        self._providers = providers
        self._outgoing = outgoing
        self._clock = clock
        self._telemetry = telemetry
        self._owner = owner
        self._revision = revision
        self._partitions = partitions
        self._breakers = {name: Breaker() for name in providers}
        self._pools = {name: asyncio.Semaphore(POOL) for name in providers}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._settled: list[_Settlement] = []
        self._wake = asyncio.Event()

    def start_now(self, calls: Sequence[Task]) -> None:
        """Make calls that this process has just recorded with its own claim on them."""
        for task in calls:
            if task.task_id not in self._running:
                job = asyncio.create_task(self._call(task), name=f"call-{task.task_id}")
                self._running[task.task_id] = job
                job.add_done_callback(partial(self._forget, task.task_id))

    def _forget(self, task_id: str, _job: asyncio.Task[None]) -> None:
        self._running.pop(task_id, None)

    async def run_due_once(self) -> int:
        """Claim what is due, start its calls, fire its timers, and return how many tasks were claimed.

        Raises:
            RevisionRemoved: this revision may not claim any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        claimed = await self._sql.run(self._claim)
        self.start_now([task for task in claimed if isinstance(task.body, Call)])
        timers = [task for task in claimed if isinstance(task.body, StoredTimer)]
        if timers:
            self._put(*await self._look_at(timers))
        return len(claimed)

    def _claim(self) -> list[Task]:
        now = self._clock.now()
        with reading(self._engine) as connection:
            if not task_rows.anything_due(connection, now):
                return []
        with self._engine.begin() as connection:
            assert_allowed(connection, self._revision)
            return task_rows.claim(connection, self._owner, LEASE, AT_ONCE, now)

    # Calls

    async def _call(self, task: Task) -> None:
        body = task.body
        assert isinstance(body, Call)
        breaker = self._breakers[body.provider]
        async with self._pools[body.provider]:
            loop = asyncio.get_running_loop()
            permit = breaker.admit(loop.time())
            if permit is None:
                self._put(_Postponed(task, self._in(breaker.wait(loop.time())), "the breaker is open"))
                return
            started = loop.time()
            try:
                answer = await asyncio.wait_for(self._ask(task, body), CALL_TIMEOUT)
                outcome = self._outcome(task, body, answer)
            except asyncio.CancelledError:
                breaker.abandoned(permit)
                raise
            except (Unavailable, Unclear, TimeoutError) as error:
                breaker.failed(permit, loop.time())
                self._failed(task, error)
            except Exception as error:  # an adapter of ours that is at fault says nothing of the provider
                breaker.abandoned(permit)
                log.error("a call could not be made", task_id=task.task_id, error=type(error).__name__)
                self._failed(task, error)
            else:
                breaker.answered(permit)
                self._put(_Answered(task, outcome))
            finally:
                self._telemetry.provider_called(body, loop.time() - started, breaker.state)

    async def _ask(self, task: Task, body: Call) -> ProviderAnswer:
        provider = self._providers[body.provider]
        request = ProviderRequest(operation=body.operation, key=body.key, arguments=body.arguments)
        if task.unclear:
            answer = await provider.query(request)
            if answer is not None:
                return answer
        return await provider.call(request)

    def _failed(self, task: Task, error: Exception) -> None:
        attempts = task.attempts + 1
        # Whatever is not known to have done nothing may have done it.
        unclear = task.unclear or not isinstance(error, Unavailable)
        self._telemetry.retried(task.body, "unclear" if unclear else "unavailable")
        later = msgspec.structs.replace(task, attempts=attempts, unclear=unclear)
        self._put(_Postponed(later, self._in(backoff(attempts)), type(error).__name__))

    def _outcome(self, task: Task, body: Call, answer: ProviderAnswer) -> Message:
        message = self._context.answers[f"{body.provider}/{body.operation}"](body, answer, self._clock.now())
        metadata = msgspec.structs.replace(task.cause.metadata, source=self._context.name, causation_id=task.task_id)
        return msgspec.structs.replace(message, order_id=message.order_id or task.key, metadata=metadata)

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    # Timers

    async def _look_at(self, timers: Sequence[Task]) -> list[_Settlement]:
        """Fire the timers that have nothing to wait for, postpone the others."""
        asked = await self._with_horizons(timers)
        ready = await self._sql.run(self._ready, asked)
        later = self._in(BACKLOG.total_seconds())
        return [self._fired(task) if task.task_id in ready else _Postponed(task, later, None) for task in asked]

    def _fired(self, task: Task) -> _Settlement:
        try:
            return _Answered(task, codec.decode(bytes(_timer(task).message)))
        except codec.Unreadable as unreadable:
            # A newer revision wrote it: it waits for one that can read it, and keeps nobody else waiting.
            log.error("a timer cannot be read", task_id=task.task_id, cause=unreadable.cause)
            return _Postponed(task, self._in(STEADY_BACKOFF), unreadable.cause)

    async def _with_horizons(self, timers: Sequence[Task]) -> list[Task]:
        """Give each timer that waits for replies the end offsets it has to see recorded, read after it came due."""
        wanted = {
            (topic, partition_of(task.key, self._partitions))
            for task in timers
            if task.horizon is None
            for topic in _timer(task).replies
        }
        if not wanted:
            return list(timers)
        try:
            ends = await self._broker.end_offsets(sorted(wanted))
        except PublishFailed:
            return list(timers)
        return [
            task
            if task.horizon is not None
            else msgspec.structs.replace(
                task,
                horizon={
                    topic: ends[topic, partition_of(task.key, self._partitions)] for topic in _timer(task).replies
                },
            )
            for task in timers
        ]

    def _ready(self, timers: Sequence[Task]) -> set[str]:
        with reading(self._engine) as connection:
            wanted = {
                (topic, partition_of(task.key, self._partitions)) for task in timers for topic in _timer(task).replies
            }
            entries = ledger.read(connection, self._context.name, wanted)
            return {task.task_id for task in timers if self._may_fire(connection, task, entries)}

    def _may_fire(self, connection: Connection, task: Task, entries: Mapping[ledger.Partition, ledger.Entry]) -> bool:
        timer = _timer(task)
        if timer.request is not None and outbox.is_unpublished(connection, timer.request):
            return False
        if timer.replies and task.horizon is None:
            return False
        number = partition_of(task.key, self._partitions)
        return all(
            (entries[topic, number].offset if (topic, number) in entries else -1) + 1 >= end
            for topic, end in (task.horizon or {}).items()
        )

    # Settling

    def _put(self, *settlements: _Settlement) -> None:
        self._settled += settlements
        if settlements:
            self._wake.set()

    async def settle_when_any(self) -> None:
        """Wait until something has come to an end, and record it."""
        await self._wake.wait()
        await self.settle_once()

    async def settle_once(self) -> int:
        """Record in one transaction how tasks have ended or when they go on, and return how many.

        Raises:
            RevisionRemoved: this revision may not record any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away; the outcomes stay in hand.
        """
        batch, self._settled = self._settled, []
        self._wake.clear()
        if not batch:
            return 0
        try:
            rows, blocked = await self._sql.run(self._record, batch)
        except BaseException as error:
            if _is_about_an_outcome(error):
                # One of them is at fault: the others must not wait for it.
                return sum([await self._settle_alone(item) for item in batch])
            self._settled = batch + self._settled
            self._wake.set()
            raise
        self._outgoing.hand_over(rows, blocked)
        return len(batch)

    async def _settle_alone(self, item: _Settlement) -> int:
        try:
            rows, blocked = await self._sql.run(self._record, [item])
        except Exception as error:
            if not _is_about_an_outcome(error):
                self._put(item)
                raise
            # Its claim runs out and it is done again; its key makes that safe.
            log.error("an outcome could not be recorded", task_id=item.task.task_id, error=type(error).__name__)
            return 0
        self._outgoing.hand_over(rows, blocked)
        return 1

    def _record(self, batch: Sequence[_Settlement]) -> tuple[tuple[OutboxRow, ...], dict[str, set[str]]]:
        now = self._clock.now()
        with self._engine.begin() as connection:
            assert_allowed(connection, self._revision)
            messages: list[tuple[Message, str | None]] = []
            for item in sorted(batch, key=lambda settled: settled.task.task_id):
                if isinstance(item, _Postponed):
                    task_rows.postpone(connection, item.task, self._owner, item.due_at, item.error)
                elif task_rows.finish(connection, item.task.task_id, self._owner, now):
                    messages.append((item.message, item.task.cause.traceparent))
            rows = outbox.insert(connection, messages, now)
            waiting = outbox.blocking(connection, {row.key for row in rows})
        mine = {row.event_id for row in rows}
        return rows, {key: others for key, ids in waiting.items() if (others := ids - mine)}

    async def keep_claims(self) -> None:
        """Extend the claims on calls that are still being made."""
        running = sorted(self._running)
        if running:
            await self._sql.run(self._extend, running)

    def _extend(self, task_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            task_rows.extend(connection, task_ids, self._owner, self._clock.now() + LEASE)

    async def stop(self) -> None:
        """Give up calls that are under way (their keys make them safe to repeat), record the rest, free all claims."""
        jobs = list(self._running.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        with contextlib.suppress(SQLAlchemyError, RevisionRemoved):
            await self.settle_once()
        with contextlib.suppress(SQLAlchemyError):
            await self._sql.run(self._free)

    def _free(self) -> None:
        with self._engine.begin() as connection:
            task_rows.free(connection, self._owner)


def _timer(task: Task) -> StoredTimer:
    assert isinstance(task.body, StoredTimer)
    return task.body


def _is_about_an_outcome(error: BaseException) -> bool:
    if not isinstance(error, Exception) or isinstance(error, RevisionRemoved):
        return False
    return not is_infrastructure_failure(error)
