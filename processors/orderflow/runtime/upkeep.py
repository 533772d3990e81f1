"""What a worker does beside its work, for the sake of the database: dropping old rows, and replaying when asked to."""

from sqlalchemy import Engine

from orderflow.runtime.broker import Offsets
from orderflow.runtime.dropping import Dropper
from orderflow.runtime.history import History
from orderflow.runtime.processor import Processor
from orderflow.runtime.replaying import Replayer
from orderflow.runtime.retention import Keeping
from orderflow.runtime.sql_thread import SqlThread
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork

DROP_EVERY = 0.25
"""Seconds between two steps along the tables: 2,000 rows a second, a few per cent of the thread that records."""
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
        engine: Engine,
        sql: SqlThread,
        processor: Processor,
        offsets: Offsets,
        history: History,
        telemetry: Telemetry,
        *,
        instance: str,
        keeping: Keeping | None,
    ) -> None:
        self._processor = processor
        self._anchor = (unit.context.command_topic, 0)
        self._dropper: Dropper | None = None
        if keeping is not None:
            self._dropper = Dropper(
                unit.context, engine, sql, offsets, unit.clock, telemetry, keeping=keeping, revision=unit.revision
            )
        self._replayer = Replayer(unit, engine, processor, history, telemetry, instance=instance)

    async def drop(self) -> None:
        """Take one step along the old rows, if this worker holds the anchor."""
        if self._dropper is not None and self._anchor in self._processor.positions:
            await self._dropper.step()

    async def replay(self) -> None:
        """Replay whatever of this worker's partitions is asked for."""
        while await self._replayer.work_once():
            pass

    async def close(self) -> None:
        """Let go of everything."""
        await self._replayer.close()
