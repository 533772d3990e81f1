"""The relay: publishes what the fast path left behind, in the order of the rows.

One process per context runs it, the one that holds the anchor (partition 0 of the context's command topic). It looks
when it wakes up and every five seconds, at rows older than a second. A key whose message fails stops there until the
next look, so that no later message of it overtakes; the other keys go on.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Engine

from orderflow.runtime import outbox
from orderflow.runtime.broker import Broker, OutboxRow, PublishFailed
from orderflow.runtime.clock import Clock
from orderflow.runtime.database import reading
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.sql_thread import SqlThread

log = structlog.get_logger(__name__)

OLD_ENOUGH = timedelta(seconds=1)
"""Younger rows are still in the hands of whoever wrote them."""
EVERY = 5.0
"""Seconds between looks, as the requirements have it."""
AT_ONCE = 500
"""Rows per look: half a second's worth; a backlog is looked at again at once."""
KEYS_AT_ONCE = 64


class Relay:
    """Publishes unpublished rows of one context's outbox."""

    def __init__(self, broker: Broker, engine: Engine, sql: SqlThread, clock: Clock, outgoing: Outgoing) -> None:
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
        rows = await self._sql.run(self._waiting)
        own = self._outgoing.in_hand()
        lanes: dict[str, list[OutboxRow]] = {}
        for row in rows:
            if row.key not in own:
                lanes.setdefault(row.key, []).append(row)
        gate = asyncio.Semaphore(KEYS_AT_ONCE)
        published = await asyncio.gather(*(self._publish_lane(lane, gate) for lane in lanes.values()))
        ids = [number for lane in published for number in lane]
        if ids:
            await self._sql.run(self._mark, ids)
        return len(ids)

    def _waiting(self) -> list[OutboxRow]:
        with reading(self._engine) as connection:
            return outbox.unpublished(connection, self._clock.now() - OLD_ENOUGH, AT_ONCE)

    async def _publish_lane(self, lane: Sequence[OutboxRow], gate: asyncio.Semaphore) -> list[int]:
        published: list[int] = []
        async with gate:
            for row in lane:
                try:
                    await self._broker.publish([row])
                except PublishFailed as failure:
                    log.warning("relay stopped a key", event_id=row.event_id, topic=row.topic, reason=str(failure))
                    break
                published.append(row.id)
        return published

    def _mark(self, ids: Sequence[int]) -> None:
        with self._engine.begin() as connection:
            outbox.mark_published(connection, ids, self._clock.now())
