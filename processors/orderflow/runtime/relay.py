"""The relay: publishes what the fast path left behind, in the order of the rows.

One process per context runs it, the one that holds the anchor (partition 0 of the context's command topic). It looks
when it wakes up and every five seconds, at rows older than a second. A key whose message fails stops there until the
next look, so that no later message of it overtakes; the other keys go on, however many rows the stopped ones have.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from orderflow.runtime import outbox
from orderflow.runtime.broker import Broker, OutboxRow, PublishFailed
from orderflow.runtime.clock import Clock
from orderflow.runtime.database import reading
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.sql_thread import Sql

log = structlog.get_logger(__name__)

OLD_ENOUGH = timedelta(seconds=1)
"""Younger rows are still in the hands of whoever wrote them."""
EVERY = 5.0
"""Seconds between looks, as the requirements have it."""
AT_ONCE = 500
"""Rows read at once: half a second's worth."""
KEYS_AT_ONCE = 64
MARK_AFTER = 0.5
"""Seconds until acknowledged rows are marked although others are still under way."""


class Relay:
    """Publishes unpublished rows of one context's outbox."""

    def __init__(self, broker: Broker, engine: Engine, sql: Sql, clock: Clock, outgoing: Outgoing) -> None:
        self._broker = broker
        self._engine = engine
        self._sql = sql
        self._clock = clock
        self._outgoing = outgoing

    async def publish_once(self) -> int:
        """Look once, publish what is there, mark it, and return how many rows were published.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is away; nothing is lost.
        """
        older_than = self._clock.now() - OLD_ENOUGH
        stopped: set[str] = set()
        published = last = 0
        while rows := await self._sql.run(self._waiting, older_than, last):
            last = rows[-1].id
            published += await self._publish(self._lanes(rows, stopped), stopped)
        return published

    def _waiting(self, older_than: datetime, after: int) -> list[OutboxRow]:
        with reading(self._engine) as connection:
            return outbox.unpublished(connection, older_than, AT_ONCE, after)

    def _lanes(self, rows: Iterable[OutboxRow], stopped: set[str]) -> Mapping[str, list[OutboxRow]]:
        lanes: dict[str, list[OutboxRow]] = {}
        for row in rows:
            if row.event_id in self._outgoing.in_hand:
                # The fast path publishes it, after what stands before it under its key; what follows waits for it.
                stopped.add(row.key)
            if row.key not in stopped:
                lanes.setdefault(row.key, []).append(row)
        return lanes

    async def _publish(self, lanes: Mapping[str, Sequence[OutboxRow]], stopped: set[str]) -> int:
        gate = asyncio.Semaphore(KEYS_AT_ONCE)
        acknowledged: list[str] = []
        marked = 0
        under_way = {
            asyncio.create_task(self._publish_lane(lane, gate, acknowledged, stopped)) for lane in lanes.values()
        }
        try:
            while under_way:
                _, under_way = await asyncio.wait(under_way, timeout=MARK_AFTER)
                new = acknowledged[marked:]
                if new:
                    await self._sql.run(self._mark, new)
                marked += len(new)
        finally:
            for lane in under_way:
                lane.cancel()
        return marked

    async def _publish_lane(
        self, lane: Sequence[OutboxRow], gate: asyncio.Semaphore, acknowledged: list[str], stopped: set[str]
    ) -> None:
        async with gate:
            for row in lane:
                try:
                    await self._broker.publish([row])
                except Exception as failure:  # whatever it is, the other keys go on
                    reason = str(failure) if isinstance(failure, PublishFailed) else type(failure).__name__
                    log.warning("relay stopped a key", event_id=row.event_id, topic=row.topic, reason=reason)
                    stopped.add(row.key)
                    return
                acknowledged.append(row.event_id)

    def _mark(self, event_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            outbox.mark_published(connection, event_ids, self._clock.now())
