"""Old rows dropped at once, as if a worker had walked along all tables."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from harness.fakes import StillClock
from orderflow.runtime.context import Context
from orderflow.runtime.dropping import Dropper
from orderflow.runtime.ledger import Partition
from orderflow.runtime.retention import Keeping
from orderflow.runtime.sql_thread import SqlThread
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import UnitOfWork

AT_ONCE = Keeping(
    inbox=timedelta(0), outbox=timedelta(0), tasks=timedelta(0), decisions=timedelta(0), audit_trail=timedelta(0)
)


class Forgetful:
    """A broker that holds nothing any more."""

    async def first_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return dict.fromkeys(partitions, 10**9)

    async def end_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return await self.first_offsets(partitions)


def drop_all(
    context: Context[Any], engine: Engine, now: StillClock, *, revision: str, keeping: Keeping = AT_ONCE
) -> None:
    """Drop from one context's database all that has had its time by ``now``."""
    sql = SqlThread("dropper")
    unit = UnitOfWork(context, engine, owner="dropper", revision=revision, clock=now)
    dropper = Dropper(unit, sql, sql, Forgetful(), Telemetry(context.name), keeping=keeping)

    async def walk() -> None:
        while await dropper.step() is not None:
            pass

    asyncio.run(walk())
    sql.close()
