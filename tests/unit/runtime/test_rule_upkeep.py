"""Old rows are dropped by whoever holds the anchor, and not in the first minutes of a process."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from harness.process import Process, Site
from harness.tally import COMMANDS, REPLIES, ask
from orderflow.runtime import upkeep
from orderflow.runtime.history import Read
from orderflow.runtime.ledger import Partition
from orderflow.runtime.retention import Keeping
from orderflow.runtime.schema import processed_events
from orderflow.runtime.upkeep import Upkeep

HOUR = timedelta(hours=1)
KEEPING = Keeping(inbox=HOUR, outbox=HOUR, tasks=HOUR, decisions=HOUR, audit_trail=HOUR)
ANCHOR = (COMMANDS, 0)


class NoHistory:
    """Nobody asks for a replay here."""

    async def start_of(self, place: Partition, since: datetime | None) -> int:
        raise AssertionError("nobody has asked")

    async def read(self, place: Partition, start: int, most: int) -> tuple[Sequence[Read], int]:
        raise AssertionError("nobody has asked")

    async def close(self) -> None:
        pass


def looked_after(process: Process, keeping: Keeping | None = KEEPING) -> Upkeep:
    return Upkeep(
        process.unit,
        process.processor,
        process.sql,
        process.site.broker,
        NoHistory(),
        process.telemetry,
        keeping=keeping,
    )


@pytest.fixture
async def old(site: Site) -> Process:
    """A process that holds the anchor, and an order that has long been over."""
    process = await site.joined()
    await process.take(ask("o1", "end"))
    await process.publish()
    await process.outgoing.stop()
    for place in (ANCHOR, (REPLIES, 0)):
        site.broker.expire(place, before=site.broker.end(place))
    return process


async def pass_time(process: Process, care: Upkeep) -> None:
    process.site.clock.advance(2 * HOUR.total_seconds())
    for _ in range(10):
        await care.drop()


async def test_the_anchors_holder_drops(old: Process) -> None:
    await pass_time(old, looked_after(old))
    assert old.rows(processed_events) == []


async def test_whoever_does_not_hold_the_anchor_drops_nothing(old: Process) -> None:
    care = looked_after(old)
    await old.processor.revoked([ANCHOR])
    await pass_time(old, care)
    assert old.rows(processed_events)


async def test_where_no_time_is_named_everything_is_kept(old: Process) -> None:
    await pass_time(old, looked_after(old, keeping=None))
    assert old.rows(processed_events)


async def test_nothing_is_dropped_right_after_the_start(old: Process) -> None:
    old.site.clock.advance(2 * HOUR.total_seconds())
    care = looked_after(old)
    old.site.clock.advance(upkeep.FIRST_AFTER.total_seconds() - 1)
    await care.drop()
    assert old.rows(processed_events)
    old.site.clock.advance(1)
    await care.drop()
    assert old.rows(processed_events) == []


async def test_where_nobody_asks_for_a_replay_nothing_is_read_again(old: Process) -> None:
    care = looked_after(old)
    await care.replay()
    await care.close()
