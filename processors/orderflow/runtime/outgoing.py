"""The fast path: publish what a transaction has just written, without waiting for the relay.

A key's messages go out in the order of their rows. Rows that this process has in hand are published one after another
by a single pump; a row that has an earlier one in somebody else's hand waits until that one is marked, for a second at
most. Whatever fails or waits longer is dropped here, its key with it, and left to the relay: it stands in the outbox.

A published row is marked soon afterwards, with the next transaction of this process or by a flush of its own.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Engine, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from orderflow.runtime import outbox
from orderflow.runtime.broker import Broker, OutboxRow, PublishFailed
from orderflow.runtime.clock import Clock
from orderflow.runtime.database import reading
from orderflow.runtime.schema import outbox as table
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.statements import Statement

log = structlog.get_logger(__name__)

LOOK_AGAIN = 0.02
"""Seconds between looks at whether somebody else's row has been marked: less than one hop of a saga."""
PATIENCE = timedelta(seconds=1)
"""After that the relay takes over: it publishes what is older than this."""


_UNMARKED = Statement(
    select(table.c.event_id).where(
        table.c.event_id.in_(bindparam("ids", expanding=True)), table.c.published_at.is_(None)
    )
)


@dataclass(slots=True)
class _Held:
    rows: list[OutboxRow]
    behind: set[str]
    since: float


class Outgoing:
    """Publishes rows of this process in the background.

    Args:
        mark_after: seconds within which a published row is marked if no transaction takes it along before.
    """

    def __init__(self, broker: Broker, engine: Engine, sql: Sql, clock: Clock, *, mark_after: float = 0.5) -> None:
        self._broker = broker
        self._engine = engine
        self._sql = sql
        self._clock = clock
        self._mark_after = mark_after
        self._ready: list[OutboxRow] = []
        self._held: dict[str, _Held] = {}
        self._in_hand: dict[str, str] = {}
        self._acknowledged: set[str] = set()
        self._wake = asyncio.Event()
        self._marks = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.failing_since: float | None = None
        """Loop time of the first publication that failed since the last that did not."""

    async def start(self) -> None:
        """Start publishing."""
        self._tasks = [
            asyncio.create_task(self._pump(), name="outgoing-pump"),
            asyncio.create_task(self._flush_marks(), name="outgoing-marks"),
        ]

    async def stop(self, patience: float = 5.0) -> None:
        """Publish what is in hand, as far as that goes within ``patience`` seconds, mark it, and stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        with contextlib.suppress(SQLAlchemyError):
            await self._mark()

    @property
    def in_hand(self) -> Collection[str]:
        """Event ids of unmarked rows that this process has published or is about to, in order."""
        return self._in_hand.keys()

    def take_acknowledged(self) -> list[str]:
        """Return the event ids of published rows that are not marked yet; the caller marks them."""
        return list(self._acknowledged)

    def marked(self, event_ids: Collection[str]) -> None:
        """Take note that rows have been marked."""
        for event_id in event_ids:
            self._acknowledged.discard(event_id)
            self._in_hand.pop(event_id, None)

    def hand_over(self, rows: Sequence[OutboxRow], blocked: Mapping[str, set[str]] | None = None) -> None:
        """Take rows that have been committed.

        Args:
            blocked: per key, event ids of rows that were unpublished when the transaction looked. What is in hand now
                goes first anyway; the others are waited for, also those that were in hand then and failed since.
        """
        loop = asyncio.get_running_loop()
        earlier = {key: ids - self._in_hand.keys() for key, ids in (blocked or {}).items()}
        for row in rows:
            self._in_hand[row.event_id] = row.key
            held = self._held.get(row.key)
            behind = earlier.get(row.key, set())
            if held is not None:
                held.rows.append(row)
                held.behind |= behind
            elif behind:
                self._held[row.key] = _Held([row], set(behind), loop.time())
            else:
                self._ready.append(row)
        if rows:
            self._idle.clear()
            self._wake.set()

    async def _pump(self) -> None:
        while True:
            if not self._ready and not self._held:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            if not self._ready:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_AGAIN)
            if self._held:
                await self._look_at_held()
            rows, self._ready = self._ready, []
            if rows:
                await self._publish(rows)

    async def _publish(self, rows: list[OutboxRow]) -> None:
        try:
            await self._broker.publish(rows)
        except Exception as failure:  # whatever it is, the next rows must go out
            reason = str(failure) if isinstance(failure, PublishFailed) else type(failure).__name__
            log.warning("publish failed; left to the relay", rows=len(rows), reason=reason)
            if self.failing_since is None:
                self.failing_since = asyncio.get_running_loop().time()
            self._drop({row.key for row in rows}, rows)
            return
        self.failing_since = None
        self._acknowledged.update(row.event_id for row in rows)
        self._marks.set()

    def _drop(self, keys: set[str], rows: Sequence[OutboxRow]) -> None:
        """Leave ``rows``, and whatever follows them under their keys, to the relay."""
        dropped = list(rows)
        for key in keys:
            held = self._held.pop(key, None)
            dropped += held.rows if held else []
        dropped += [row for row in self._ready if row.key in keys]
        self._ready = [row for row in self._ready if row.key not in keys]
        for row in dropped:
            self._in_hand.pop(row.event_id, None)

    async def _look_at_held(self) -> None:
        wanted = set().union(*(held.behind for held in self._held.values()))
        try:
            still = await self._sql.run(self._unmarked, wanted)
        except SQLAlchemyError:
            return
        now = asyncio.get_running_loop().time()
        for key, held in list(self._held.items()):
            # Only what was asked about: more may have come to stand in front of it meanwhile.
            held.behind -= wanted - still
            if not held.behind:
                del self._held[key]
                self._ready += held.rows
            elif now - held.since > PATIENCE.total_seconds():
                self._drop({key}, ())

    def _unmarked(self, event_ids: set[str]) -> set[str]:
        with reading(self._engine) as connection:
            return {row[0] for row in _UNMARKED.rows(connection, {"ids": sorted(event_ids)})}

    async def _flush_marks(self) -> None:
        while True:
            await self._marks.wait()
            await asyncio.sleep(self._mark_after)
            self._marks.clear()
            try:
                await self._mark()
            except SQLAlchemyError as error:
                log.warning("marks have to wait", reason=type(error).__name__)
                self._marks.set()

    async def _mark(self) -> None:
        event_ids = self.take_acknowledged()
        if event_ids:
            await self._sql.run(self._mark_in_database, event_ids)
            self.marked(event_ids)

    def _mark_in_database(self, event_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            outbox.mark_published(connection, event_ids, self._clock.now())
