"""A replay holds every message that is still there against what was recorded, inside the partition's owner."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from harness.fakes import MemoryBroker
from harness.process import Process, Site, column, remove_revision
from harness.tally import COMMANDS, NOON, TALLY, Tally, ask, decide, other, reserved, undo
from orderflow.contracts.envelope import Message
from orderflow.runtime import replay_rows, replaying
from orderflow.runtime.broker import PublishFailed
from orderflow.runtime.context import Context
from orderflow.runtime.database import RevisionRemoved, reading
from orderflow.runtime.history import Read
from orderflow.runtime.ledger import Partition
from orderflow.runtime.replay_report import PartReport
from orderflow.runtime.replay_rows import Part
from orderflow.runtime.replaying import Replayer
from orderflow.runtime.schema import consumed_offsets, outbox, processed_events, replays

PLACE = (COMMANDS, 0)


class MemoryHistory:
    """Reads what a :class:`MemoryBroker` holds; the n-th message came n seconds after noon."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.gives_nothing = False
        self.reads = 0

    async def start_of(self, place: Partition, since: datetime | None) -> int:
        if since is None:
            return self._broker.first(place)
        return next(
            (r.offset for r in self._broker.records(place, 0) if at(r.offset) >= since), self._broker.end(place)
        )

    async def read(self, place: Partition, start: int, most: int) -> tuple[Sequence[Read], int]:
        self.reads += 1
        if self._broker.down:
            raise PublishFailed("away")
        records = [] if self.gives_nothing else self._broker.records(place, start)[:most]
        return [Read(r, at(r.offset)) for r in records], records[-1].offset + 1 if records else start

    async def close(self) -> None:
        pass


def at(offset: int) -> datetime:
    return NOON + timedelta(seconds=offset)


class Replays:
    """A process that replays, and what it was asked for."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.history = MemoryHistory(process.site.broker)
        self.replayer = Replayer(
            process.unit, process.processor, process.sql, process.sql, self.history, process.telemetry
        )

    def ask(self, *places: Partition, applies: bool = False, rate: int = 100_000, **between: datetime | None) -> None:
        with self.process.engine.begin() as connection:
            replay_rows.ask(
                connection,
                "r1",
                places or (PLACE,),
                since=between.get("since"),
                until=between.get("until"),
                applies=applies,
                rate=rate,
                now=self.process.site.clock.now(),
            )

    def part(self) -> Part:
        with reading(self.process.engine) as connection:
            (part,) = replay_rows.parts_of(connection, "r1")
        return part

    async def run(self, **how: Any) -> PartReport:
        """Replay the command partition and return what was found."""
        self.ask(**how)
        assert await self.replayer.work_once()
        part = self.part()
        assert part.status == replay_rows.DONE, part.report.reason
        return part.report


@pytest.fixture
async def replays_of(process: Process) -> Replays:
    return Replays(process)


def spoil(process: Process, statement: str) -> None:
    with process.engine.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount > 0


def found(report: PartReport) -> list[tuple[str, int, str]]:
    return [(finding.verdict, finding.offset, finding.detail) for finding in report.findings]


async def skipped(site: Site, *messages: Message) -> Process:
    """A process whose ledger has passed messages that nobody has ever decided."""
    for message in messages:
        site.broker.put(message)
    process = await site.joined()
    await process.leave()
    spoil(process, f"UPDATE consumed_offsets SET \"offset\" = {len(messages) - 1} WHERE topic = '{COMMANDS}'")
    await process.join()
    return process


class TestWhatIsAsRecorded:
    async def test_every_message_is_decided_again_and_held_against_what_it_asked_for(self, replays_of: Replays) -> None:
        process = replays_of.process
        await process.take(ask("o1", "call timer", items={"lamp": 2}), ask("o2"), undo("o2"), ask("o1", number=2))
        report = await replays_of.run()
        assert (report.first, report.end) == (0, 4)
        assert (report.read, report.same, report.decided_again) == (4, 4, 4)
        assert report.outputs == 3 + 2 + 3, "three answers, a call and a timer, three lines of the audit trail"
        assert report.is_clean
        assert report.findings == []
        assert process.metric("orderflow_replayed_messages_total", verdict="same") == 4

    async def test_nothing_is_written_but_how_far_it_has_come(self, replays_of: Replays) -> None:
        process = replays_of.process
        await process.take(ask("o1", "call", number=1), ask("o1", number=2))
        replays_of.ask()
        before = process.everything()
        await replays_of.replayer.work_once()
        after = process.everything()
        assert {name for name, rows in after.items() if rows != before[name]} == {"replays"}

    async def test_what_means_nothing_to_the_context_passes_by(self, replays_of: Replays) -> None:
        await replays_of.process.take(other("o1"), ask("o1"))
        report = await replays_of.run()
        assert (report.read, report.same, report.passed_by) == (2, 1, 1)

    async def test_what_could_not_be_decided_was_recorded_as_such(self, replays_of: Replays) -> None:
        process = replays_of.process
        process.site.broker.put(b"\xff", topic=COMMANDS, key="o1")
        await process.take(ask("o2", "break"), ask("o2", number=2))
        twice = ask("o3")
        process.site.broker.put(twice)
        process.site.broker.put(ask("o3", "look"))
        await process.fetch()
        report = await replays_of.run()
        assert (report.read, report.same) == (5, 5), "undecodable, dead, parked, decided, and a conflict with that"
        assert report.is_clean

    async def test_a_message_without_a_recorded_decision_is_known_by_its_hash(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"))
        spoil(replays_of.process, "DELETE FROM decisions")
        report = await replays_of.run()
        assert (report.same, report.decided_again, report.outputs) == (1, 0, 0)

    async def test_it_goes_as_far_as_the_ledger_and_no_further(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"))
        replays_of.process.site.broker.put(ask("o2"))
        report = await replays_of.run(applies=True)
        assert (report.read, report.end) == (1, 1)

    async def test_only_what_was_published_between_two_moments_is_read(self, replays_of: Replays) -> None:
        await replays_of.process.take(*(ask("o1", number=number) for number in range(1, 7)))
        report = await replays_of.run(since=at(2), until=at(4))
        assert (report.first, report.read) == (2, 3)


class TestWhatIsOtherwise:
    async def test_other_bytes_under_the_same_id(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"), ask("o2"))
        spoil(replays_of.process, "UPDATE processed_events SET hash = 'other' WHERE key = 'o2'")
        report = await replays_of.run()
        assert found(report) == [("unlike", 1, "was recorded with other bytes")]
        assert not report.is_clean

    async def test_a_decision_that_is_another_one_today(self, site: Site) -> None:
        first = await site.joined()
        await first.take(ask("o1"))
        await first.leave()
        second = await site.joined("inventory-1/b", context=counting_twice())
        report = await Replays(second).run()
        assert found(report) == [("unlike", 0, "is decided differently now, in state, transitions, writes")]

    async def test_a_decision_on_another_message(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1", number=1), ask("o1", number=2))
        spoil(
            replays_of.process,
            "UPDATE decisions SET message = (SELECT message FROM decisions WHERE event_id = 'ask-o1-1')"
            " WHERE event_id = 'ask-o1-2'",
        )
        assert found(await replays_of.run()) == [("unlike", 1, "was decided as another message")]

    @pytest.mark.parametrize(
        ("statement", "detail"),
        [
            ("DELETE FROM outbox", "lacks what it asked for in the outbox"),
            ("UPDATE outbox SET payload = CAST('{}' AS BLOB)", "has something else than it asked for in the outbox"),
            ("DELETE FROM tasks WHERE kind = 'timer'", "lacks what it asked for in the tasks"),
            (
                "UPDATE tasks SET body = CAST('{}' AS BLOB) WHERE kind = 'call'",
                "has something else than it asked for in the tasks",
            ),
            ("DELETE FROM audit_trail", "lacks what it asked for in the audit_trail"),
            ("UPDATE audit_trail SET after = '7'", "has something else than it asked for in the audit_trail"),
        ],
    )
    async def test_something_that_was_asked_for_and_is_not_there(
        self, replays_of: Replays, statement: str, detail: str
    ) -> None:
        await replays_of.process.take(ask("o1", "call timer"))
        spoil(replays_of.process, statement)
        assert found(await replays_of.run()) == [("unlike", 0, detail)]

    async def test_of_many_the_first_are_named_and_all_are_counted(
        self, replays_of: Replays, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orderflow.runtime.replay_report.SHOWN", 2)
        await replays_of.process.take(*(ask("o1", number=number) for number in range(1, 6)))
        spoil(replays_of.process, "UPDATE processed_events SET hash = 'other'")
        report = await replays_of.run()
        assert (report.unlike, len(report.findings)) == (5, 2)


def counting_twice() -> Context[Any]:
    def twice(tally: Tally | None, pots: Mapping[str, Any], message: Message) -> Any:
        before = tally or Tally()
        return decide(replace_count(before), pots, message)

    def replace_count(tally: Tally) -> Tally:
        return Tally(count=tally.count + 1, seen=tally.seen, over=tally.over, undone=tally.undone)

    return replace(TALLY, decide=twice)


class TestWhatWasDropped:
    async def test_a_message_of_that_time_is_neither_unknown_nor_decided(self, site: Site) -> None:
        process = await skipped(site, *(ask("o1", number=number) for number in range(1, 4)))
        spoil(process, "INSERT INTO horizons VALUES ('processed_events', '2026-03-01 12:00:02.000000', 2)")
        report = await Replays(process).run(applies=True)
        assert (report.dropped, report.applied) == (2, 1)
        assert found(report)[0] == (
            "dropped",
            0,
            "is not in the inbox, from which messages of its time were dropped",
        )
        assert process.seen("o1") == ("ask-o1-3",)

    async def test_what_a_decision_asked_for_may_be_gone(self, replays_of: Replays) -> None:
        process = replays_of.process
        await process.take(ask("o1"))
        spoil(process, "DELETE FROM outbox")
        spoil(process, "INSERT INTO horizons VALUES ('outbox', '2026-03-01 12:00:01.000000', 1)")
        report = await replays_of.run()
        assert (report.same, report.outputs, report.outputs_dropped) == (1, 2, 1)


class TestAnUnknownMessage:
    async def test_is_reported_and_nothing_else(self, site: Site) -> None:
        process = await skipped(site, ask("o1"), ask("o2"))
        report = await Replays(process).run()
        assert report.unknown == 2
        assert found(report)[0] == ("unknown", 0, "is below the ledger and not in the inbox")
        assert not report.is_clean
        assert process.seen("o1") == ()

    async def test_is_decided_by_the_owner_where_that_is_wanted(self, site: Site) -> None:
        process = await skipped(site, ask("o1", number=1), ask("o1", number=2))
        ledger = process.rows(consumed_offsets)
        report = await Replays(process).run(applies=True)
        assert (report.applied, report.unknown, report.is_clean) == (2, 0, True)
        assert found(report)[0] == ("applied", 0, "decided now: applied")
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert column(process.rows(processed_events), "event_id") == ["ask-o1-1", "ask-o1-2"]
        moved = [{name: row[name] for name in ("offset", "last_event_id", "owner")} for row in ledger]
        assert moved == [
            {name: row[name] for name in ("offset", "last_event_id", "owner")} for row in process.rows(consumed_offsets)
        ]
        await process.publish()
        assert site.broker.ids() == [reserved(ask("o1", number=number)) for number in (1, 2)]

    async def test_is_decided_once_however_often_it_is_replayed(self, site: Site) -> None:
        process = await skipped(site, ask("o1"))
        replays_of = Replays(process)
        await replays_of.run(applies=True)
        spoil(process, "UPDATE replays SET replay_id = 'r0'")
        report = await replays_of.run(applies=True)
        assert (report.same, report.applied) == (1, 0)
        assert process.seen("o1") == ("ask-o1-1",)

    async def test_is_decided_on_what_came_after_it(self, site: Site) -> None:
        process = await skipped(site, ask("o1", number=1))
        await process.take(ask("o1", number=2))
        await Replays(process).run(applies=True)
        assert process.seen("o1") == ("ask-o1-2", "ask-o1-1")
        await process.take(ask("o1", number=3))
        assert process.seen("o1") == ("ask-o1-2", "ask-o1-1", "ask-o1-3")

    async def test_becomes_a_dead_letter_if_it_cannot_be_decided(self, site: Site) -> None:
        process = await skipped(site, ask("o1", "break"))
        report = await Replays(process).run(applies=True)
        assert found(report) == [("applied", 0, "decided now: dead")]
        assert column(process.rows(processed_events), "status") == ["dead"]

    async def test_is_left_alone_by_who_is_fenced(self, site: Site) -> None:
        process = await skipped(site, ask("o1"))
        replays_of = Replays(process)
        spoil(process, "UPDATE consumed_offsets SET owner = 'inventory-9/z'")
        replays_of.ask(applies=True)
        await replays_of.replayer.work_once()
        assert process.seen("o1") == ()
        assert process.rows(processed_events) == []
        assert replays_of.part().status == replay_rows.RUNNING

    async def test_is_left_alone_by_a_removed_revision(self, site: Site) -> None:
        process = await skipped(site, ask("o1"))
        replays_of = Replays(process)
        replays_of.ask(applies=True)
        remove_revision(process)
        with pytest.raises(RevisionRemoved):
            await replays_of.replayer.work_once()
        assert replays_of.part().status == replay_rows.WAITING


class TestWhoDoesIt:
    async def test_nobody_looks_further_where_nothing_is_asked_for(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"))
        replays_of.process.faults.statements.clear()
        assert not await replays_of.replayer.work_once()
        assert "BEGIN" not in replays_of.process.faults.statements
        assert replays_of.history.reads == 0

    async def test_only_the_partitions_owner_takes_it_up(self, site: Site) -> None:
        owner = await site.joined()
        await owner.take(ask("o1"))
        stranger = Replays(site.process("inventory-1/b"))
        stranger.ask()
        assert not await stranger.replayer.work_once()
        assert await Replays(owner).replayer.work_once()
        assert stranger.part().report.same == 1

    async def test_a_part_that_is_claimed_is_nobody_elses_until_the_claim_runs_out(self, replays_of: Replays) -> None:
        engine, now = replays_of.process.engine, replays_of.process.site.clock.now()
        replays_of.ask()
        with engine.begin() as connection:
            assert replay_rows.claim(connection, [PLACE], "a", now) is not None
            assert replay_rows.claim(connection, [PLACE], "b", now + replay_rows.LEASE) is None
            taken = replay_rows.claim(connection, [PLACE], "b", now + 2 * replay_rows.LEASE)
            assert taken is not None
            assert not replay_rows.note(connection, taken, "a", now)
            assert replay_rows.note(connection, taken, "b", now)

    async def test_the_next_owner_goes_on_where_the_last_one_has_left_it(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replaying, "AT_ONCE", 2)
        monkeypatch.setattr(replaying, "NOTED_EVERY", timedelta(0))
        first = await site.joined()
        await first.take(*(ask("o1", number=number) for number in range(1, 6)))
        replays_of = Replays(first)
        replays_of.ask()

        class LosesItsPartition(MemoryHistory):
            async def read(self, place: Partition, start: int, most: int) -> tuple[Sequence[Read], int]:
                if self.reads == 2:
                    await first.leave()
                return await super().read(place, start, most)

        replays_of.replayer._history = LosesItsPartition(site.broker)
        await replays_of.replayer.work_once()
        left = replays_of.part()
        assert (left.status, left.next_offset, left.report.read) == (replay_rows.RUNNING, 4, 4)

        second = Replays(await site.joined("inventory-1/b"))
        assert not await second.replayer.work_once(), "it is claimed still"
        site.clock.advance(replay_rows.LEASE.total_seconds() + 1)
        assert await second.replayer.work_once()
        assert second.part().report.read == 5
        assert second.part().status == replay_rows.DONE

    async def test_one_that_is_cancelled_is_left(self, replays_of: Replays, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replaying, "AT_ONCE", 1)
        monkeypatch.setattr(replaying, "NOTED_EVERY", timedelta(0))
        process = replays_of.process
        await process.take(ask("o1"), ask("o2"), ask("o3"))
        replays_of.ask()

        def cancel(*_: object) -> None:
            with process.engine.begin() as connection:
                replay_rows.cancel(connection, "r1", process.site.clock.now())

        monkeypatch.setattr(replays_of.replayer, "_count", cancel)
        await replays_of.replayer.work_once()
        assert replays_of.part().status == replay_rows.CANCELLED
        assert replays_of.history.reads == 1


class TestItDisturbsNobody:
    async def test_it_stays_below_its_rate(self, replays_of: Replays, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        await replays_of.process.take(*(ask("o1", number=number) for number in range(1, 26)))
        monkeypatch.setattr("orderflow.runtime.replaying.asyncio.sleep", sleep)
        await replays_of.run(rate=10)
        assert len(slept) == 3, "ten messages at once, so that one does not come in a rush"
        assert 2.0 < sum(slept) <= 2.5

    async def test_a_broker_that_gives_nothing_ends_it_with_a_reason(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"))
        replays_of.history.gives_nothing = True
        replays_of.ask()
        await replays_of.replayer.work_once()
        assert replays_of.part().status == replay_rows.FAILED
        assert replays_of.part().report.reason == "the broker gives nothing from offset 0 on"

    async def test_a_broker_that_is_away_leaves_it_for_later(self, replays_of: Replays) -> None:
        await replays_of.process.take(ask("o1"))
        replays_of.ask()
        replays_of.process.site.broker.down = True
        with pytest.raises(PublishFailed):
            await replays_of.replayer.work_once()
        replays_of.process.site.broker.down = False
        assert await replays_of.replayer.work_once()
        assert replays_of.part().report.same == 1

    async def test_a_database_that_is_away_leaves_it_for_later(self, replays_of: Replays) -> None:
        process = replays_of.process
        await process.take(ask("o1"))
        replays_of.ask()
        process.faults.on = lambda statement: "FROM decisions" in statement
        with pytest.raises(OperationalError):
            await replays_of.replayer.work_once()
        process.faults.mend()
        assert await replays_of.replayer.work_once()
        assert replays_of.part().report.same == 1

    async def test_a_mistake_of_its_own_ends_it_and_not_the_worker(
        self, replays_of: Replays, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await replays_of.process.take(ask("o1"))

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(replaying, "judge", fail)
        replays_of.ask()
        assert await replays_of.replayer.work_once()
        assert replays_of.part().report.reason == "ZeroDivisionError at offset 0"
        await replays_of.process.take(ask("o2"))
        assert replays_of.process.seen("o2")

    async def test_live_messages_are_decided_while_it_waits(self, site: Site) -> None:
        process = await skipped(site, *(ask("o1", number=number) for number in range(1, 6)))
        replays_of = Replays(process)
        replays_of.ask(applies=True)
        replay = asyncio.create_task(replays_of.replayer.work_once())
        await process.take(ask("o2"))
        assert await replay
        assert process.seen("o2") == ("ask-o2-1",)
        assert len(process.seen("o1")) == 5
        assert {row["event_id"] for row in process.rows(outbox)} >= {reserved(ask("o2"))}
        assert process.rows(replays)[0]["status"] == replay_rows.DONE
