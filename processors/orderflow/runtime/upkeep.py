"""What a worker does beside its work, for the sake of the database: dropping old rows, and replaying when asked to.

Both look at much and write little. They look in a thread of their own, on snapshots that block nobody, and write where
the worker does its SQL, in its turn.
"""

from datetime import timedelta

from orderflow.runtime.broker import Offsets
from orderflow.runtime.dropping import Dropper
from orderflow.runtime.history import History
from orderflow.runtime.processor import Processor
from orderflow.runtime.replaying import Replayer
from orderflow.runtime.retention import Keeping
from orderflow.runtime.sql_thread import Sql, SqlThread
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork

DROP_EVERY = 0.25
"""Seconds between looks along the tables: 1,000 rows a second, some 2 % of a core for as long as a walk lasts."""
STEPS = 8
"""Steps taken at once where rows go: 8,000 rows a second, more than 500 orders a second leave in any table."""
FIRST_AFTER = timedelta(minutes=10)
"""A worker that has just started has better things to do."""
REPLAY_EVERY = 1.0
"""Seconds between looks at whether somebody has asked for a replay: one query of a table that is as good as empty."""


class Upkeep:
    """The two of them, wired.

    Args:
        keeping: for how long what was recorded is kept; without it, for ever.
    """

    def __init__(
        self,
        unit: UnitOfWork,
        processor: Processor,
        sql: Sql,
        offsets: Offsets,
        history: History,
        telemetry: Telemetry,
        *,
        keeping: Keeping | None,
    ) -> None:
        self._processor = processor
        self._clock = unit.clock
        self._first = unit.clock.now() + FIRST_AFTER
        self._anchor = (unit.context.command_topic, 0)
        self._looking = SqlThread(f"{unit.owner}-upkeep")
        self._replayer = Replayer(unit, processor, self._looking, sql, history, telemetry)
        self._dropper: Dropper | None = None
        if keeping is not None:
            self._dropper = Dropper(unit, self._looking, sql, offsets, telemetry, keeping=keeping)

    async def drop(self) -> None:
        """Look along the old rows for a moment, if this worker holds the anchor."""
        if self._dropper is None or self._anchor not in self._processor.positions or self._clock.now() < self._first:
            return
        for _ in range(STEPS):
            if not await self._dropper.step():
                return

    async def replay(self) -> None:
        """Replay whatever of this worker's partitions is asked for."""
        while await self._replayer.work_once():
            pass

    async def close(self) -> None:
        """Let go of everything."""
        await self._replayer.close()
        self._looking.close()
