"""Old rows are dropped in small steps, by whoever holds the anchor, and never one that something still needs."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from harness.process import Process, Site, column, remove_revision
from harness.tally import COMMANDS, NOON, REPLIES, ask, reply, reserved, undo
from orderflow.runtime import dropping
from orderflow.runtime.broker import PublishFailed
from orderflow.runtime.database import RevisionRemoved, reading
from orderflow.runtime.dropping import Dropper, Horizon, horizons_of
from orderflow.runtime.retention import Keeping
from orderflow.runtime.schema import audit_trail, decisions, outbox, processed_events, tasks

PLACE = (COMMANDS, 0)
HOUR = 3600.0
KEEPING = Keeping(
    inbox=timedelta(hours=1),
    outbox=timedelta(hours=1),
    tasks=timedelta(hours=1),
    decisions=timedelta(hours=1),
    audit_trail=timedelta(hours=1),
)
EVERYTHING = (processed_events, outbox, tasks, decisions, audit_trail)


def dropper(process: Process, keeping: Keeping = KEEPING) -> Dropper:
    return Dropper(process.unit, process.sql, process.sql, process.site.broker, process.telemetry, keeping=keeping)


async def drop(process: Process, after: float = HOUR + 1, keeping: Keeping = KEEPING) -> None:
    """Let so many seconds pass and drop what may go."""
    process.site.clock.advance(after)
    await to_its_end(dropper(process, keeping))


async def to_its_end(walking: Dropper) -> None:
    while await walking.step() is not None:
        pass


def forget(site: Site) -> None:
    """The broker deletes all that it holds."""
    for place in (PLACE, (REPLIES, 0)):
        site.broker.expire(place, before=site.broker.end(place))


def left(process: Process) -> dict[str, int]:
    return {table.name: len(process.rows(table)) for table in EVERYTHING}


def known(process: Process) -> dict[str, Horizon]:
    with reading(process.engine) as connection:
        return horizons_of(connection)


@pytest.fixture
async def over(process: Process) -> Process:
    """An order that is over in all respects: answered, published, its call made, its timer ended."""
    await process.take(ask("o1", "call timer", number=1))
    await process.settle()
    await process.take(ask("o1", "end", number=2), reply("o1"))
    await process.publish()
    await process.fetch_all()
    await process.outgoing.stop()
    return process


async def test_everything_of_an_order_that_is_over_goes_after_its_time(over: Process) -> None:
    forget(over.site)
    before = left(over)
    assert all(before.values())
    await drop(over)
    assert set(left(over).values()) == {0}
    assert {name: horizon.dropped for name, horizon in known(over).items()} == before
    assert {horizon.until for horizon in known(over).values()} == {over.site.clock.now() - timedelta(hours=1)}
    assert {name: over.metric("orderflow_rows_dropped_total", table=name) for name in before} == before


async def test_nothing_goes_before_its_time(over: Process) -> None:
    forget(over.site)
    before = left(over)
    await drop(over, after=HOUR)
    assert left(over) == before
    assert known(over) == {}


async def test_every_table_has_a_time_of_its_own(over: Process) -> None:
    forget(over.site)
    long = timedelta(days=1)
    keeping = Keeping(inbox=long, outbox=long, tasks=long, decisions=timedelta(hours=1), audit_trail=timedelta(hours=1))
    before = left(over)
    await drop(over, keeping=keeping)
    assert left(over) == {**before, "decisions": 0, "audit_trail": 0}
    assert known(over).keys() == {"decisions", "audit_trail"}


async def test_what_the_broker_still_holds_stays_in_the_inbox(over: Process) -> None:
    before = left(over)
    await drop(over)
    held = [row["event_id"] for row in over.rows(processed_events)]
    assert len(held) == before["processed_events"]
    assert set(left(over).values()) == {0, len(held)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, 6))
async def test_a_message_that_comes_again_from_the_topic_is_known_again(over: Process, kept: int) -> None:
    site = over.site
    await drop(over)
    site.broker.expire(PLACE, before=site.broker.end(PLACE) - min(kept, len(site.broker.records(PLACE, 0))))
    await drop(over)
    seen = over.seen("o1")
    await over.leave()
    # Whoever comes next has lost its place and reads all that the topic holds.
    again = site.process("inventory-1/again")
    with again.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE consumed_offsets SET \"offset\" = -1, last_event_id = ''")
    await again.join(PLACE)
    await again.fetch_all()
    assert again.seen("o1") == seen
    assert again.metric("orderflow_messages_processed_total", message="OrderInventoryRequested", outcome="applied") == 0
    await again.leave()
    await over.join()


class TestWhatIsNotOver:
    async def test_a_living_order_keeps_all_that_is_recorded_of_it(self, process: Process) -> None:
        await process.take(ask("o1"))
        await process.publish()
        await process.outgoing.stop()
        forget(process.site)
        before = left(process)
        await drop(process, after=1000 * HOUR)
        assert left(process) == before

    async def test_an_order_with_an_open_timer_keeps_it_all(self, process: Process) -> None:
        await process.take(ask("o1", "end timer"))
        await process.publish()
        await process.outgoing.stop()
        forget(process.site)
        before = left(process)
        await drop(process)
        assert left(process) == before

    async def test_a_message_that_is_not_published_keeps_its_order(self, process: Process) -> None:
        await process.take(ask("o1", "end"))
        forget(process.site)
        before = left(process)
        await drop(process)
        assert left(process) == before
        assert column(process.rows(outbox), "published_at") == [None]

    async def test_a_dead_letter_and_what_parks_behind_it_keep_their_order(self, process: Process) -> None:
        await process.take(ask("o1", "end", number=1), ask("o1", "break", number=2), ask("o1", number=3))
        await process.publish()
        await process.outgoing.stop()
        forget(process.site)
        before = left(process)
        assert "parked" in column(process.rows(processed_events), "status")
        await drop(process)
        assert left(process) == before

    async def test_a_superseded_letter_keeps_nothing(self, process: Process) -> None:
        await process.take(ask("o1", "break", number=1), undo("o1"), ask("o1", "end", number=2))
        await process.publish()
        await process.outgoing.stop()
        forget(process.site)
        await drop(process)
        assert set(left(process).values()) == {0}

    async def test_of_two_orders_the_one_that_is_over_goes(self, over: Process) -> None:
        await over.take(ask("o2"))
        await over.publish()
        forget(over.site)
        await over.outgoing.stop()
        await drop(over)
        assert set(column(over.rows(processed_events), "key")) == {"o2"}
        assert column(over.rows(outbox), "event_id") == [reserved(ask("o2"))]


class TestATrail:
    async def test_stays_whole_while_a_line_of_it_is_young(self, process: Process) -> None:
        await process.take(ask("o1", number=1))
        process.site.clock.advance(HOUR)
        await process.take(ask("o1", "end", number=2))
        await process.publish()
        await process.outgoing.stop()
        forget(process.site)
        await drop(process, after=HOUR / 2)
        assert len(process.rows(audit_trail)) == 2
        assert len(process.rows(decisions)) == 1, "of decisions each goes by itself"

    async def test_goes_whole_wherever_a_step_ends(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dropping, "AT_ONCE", 3)
        for number in range(1, 5):
            await process.take(ask("o1", number=number), ask("o2", "end" if number == 4 else "", number=number))
        await process.take(ask("o1", "end", number=5))
        await process.publish()
        await process.outgoing.stop()
        process.site.clock.advance(HOUR + 1)
        walking = dropper(process)
        while await walking.step() is not None:
            lines = column(process.rows(audit_trail), "key")
            assert (lines.count("o1"), lines.count("o2")) in {(5, 4), (0, 4), (5, 0), (0, 0)}
        assert process.rows(audit_trail) == []


class TestAWalk:
    async def test_looks_at_a_few_rows_at_a_time_and_at_all_of_them(
        self, over: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dropping, "AT_ONCE", 1)
        forget(over.site)
        await drop(over)
        assert set(left(over).values()) == {0}

    async def test_begins_again_every_few_hours(self, over: Process) -> None:
        walking = dropper(over)
        await to_its_end(walking)
        forget(over.site)
        over.site.clock.advance(dropping.EVERY.total_seconds() - 1)
        assert await walking.step() is None
        over.site.clock.advance(2)
        await to_its_end(walking)
        assert set(left(over).values()) == {0}

    async def test_writes_nothing_where_there_is_nothing_to_drop(self, process: Process) -> None:
        await process.take(ask("o1"))
        process.faults.statements.clear()
        await drop(process)
        assert "BEGIN" not in process.faults.statements

    async def test_of_a_removed_revision_drops_nothing(self, over: Process) -> None:
        forget(over.site)
        before = left(over)
        remove_revision(over)
        with pytest.raises(RevisionRemoved):
            await drop(over)
        assert left(over) == before

    async def test_drops_nothing_while_the_broker_does_not_say_what_it_holds(self, over: Process) -> None:
        before = left(over)
        over.site.broker.down = True
        with pytest.raises(PublishFailed):
            await drop(over)
        assert left(over) == before

    @pytest.mark.parametrize("statements", range(3, 14))
    async def test_that_is_cut_off_leaves_no_gap_without_its_horizon(self, over: Process, statements: int) -> None:
        forget(over.site)
        before = left(over)
        over.site.clock.advance(HOUR + 1)
        walking = dropper(over)
        over.faults.after(statements)
        with pytest.raises(OperationalError):
            await to_its_end(walking)
        over.faults.mend()
        gone = {name for name, rows in left(over).items() if rows < before[name]}
        assert gone == known(over).keys()

    async def test_a_horizon_never_goes_back(self, over: Process) -> None:
        forget(over.site)
        await drop(over)
        until = known(over)["outbox"].until
        await over.take(ask("o3", "end"))
        await over.publish()
        await over.outgoing.stop()
        longer = timedelta(hours=2)
        keeping = Keeping(inbox=longer, outbox=longer, tasks=longer, decisions=longer, audit_trail=longer)
        await drop(over, after=1.5 * HOUR, keeping=keeping)
        assert known(over)["outbox"].until >= until
        assert until > NOON
