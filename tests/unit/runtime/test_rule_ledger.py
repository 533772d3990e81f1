"""Where a partition stands: the database says, not the broker's group."""

from datetime import timedelta

import pytest

from harness.process import Process, Site, by, column
from harness.tally import NOON, answer_of, ask, other, reply
from orderflow.runtime import ledger
from orderflow.runtime.ledger import Entry, Fenced
from orderflow.runtime.positions import Place, Position
from orderflow.runtime.schema import consumed_offsets, horizons, outbox, processed_events

COMMANDS = ("inventory-commands", 0)
SECOND = ("inventory-commands", 1)


def recorded(process: Process) -> int:
    """The offset that the ledger holds of the command partition."""
    (offset,) = [
        row["offset"] for row in process.rows(consumed_offsets) if (row["topic"], row["partition"]) == COMMANDS
    ]
    assert isinstance(offset, int)
    return offset


class TestGoingOn:
    async def test_on_assignment_the_processor_goes_on_behind_the_recorded_offset(self, site: Site) -> None:
        first = await site.joined()
        await first.take(ask("o1", number=1), ask("o1", number=2))
        await first.leave()
        second = site.process("inventory-1/b")
        site.broker.put(ask("o1", number=3))
        await second.join()
        assert second.processor.positions[COMMANDS].next == 2
        await second.fetch()
        assert second.seen("o1") == ("ask-o1-1", "ask-o1-2", "ask-o1-3")
        assert recorded(second) == 2

    async def test_a_new_group_begins_with_the_first_message(self, site: Site) -> None:
        site.broker.put(ask("o1"))
        process = site.process()
        assert (await process.join())[COMMANDS] == 0
        await process.fetch()
        assert process.seen("o1") == ("ask-o1-1",)

    async def test_what_is_at_or_below_the_ledger_is_skipped(self, process: Process) -> None:
        await process.take(ask("o1", number=1), ask("o1", number=2))
        await process.deliver(*process.site.broker.records(COMMANDS, 0))
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert recorded(process) == 1
        assert not process.fetching.seeks

    async def test_a_copy_within_a_batch_is_skipped(self, process: Process) -> None:
        first = process.site.broker.put(ask("o1", number=1))
        second = process.site.broker.put(ask("o1", number=2))
        await process.deliver(first, second, first, second)
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert recorded(process) == 1

    async def test_every_partition_goes_on_by_itself(self, site: Site) -> None:
        process = site.process()
        await process.join(COMMANDS, SECOND)
        site.broker.put(ask("o1"))
        site.broker.put(ask("o2"), partition=1)
        site.broker.put(ask("o2", number=2), partition=1)
        await process.fetch()
        found = {row["partition"]: (row["offset"], row["last_event_id"]) for row in process.rows(consumed_offsets)}
        assert found == {0: (0, "ask-o1-1"), 1: (1, "ask-o2-2")}

    async def test_the_ledger_is_kept_per_group(self, process: Process) -> None:
        await process.take(ask("o1"))
        with process.engine.begin() as connection:
            assert ledger.read(connection, "another", [COMMANDS]) == {}
            now, owner = process.site.clock.now(), process.owner
            ledger.claim(connection, "another", [COMMANDS], owner, now)
            ledger.advance(connection, "another", owner, {COMMANDS: (-1, 0, "e")}, now)
            ledger.advance(connection, "another", owner, {COMMANDS: (0, 7, "e")}, now)
            assert ledger.read(connection, "another", [COMMANDS]) == {COMMANDS: Entry(7, "e", owner)}
        assert column(process.rows(consumed_offsets), "offset") == [7, 0, -1]

    async def test_a_partition_that_is_not_assigned_is_not_processed(self, process: Process) -> None:
        record = process.site.broker.put(ask("o1"), partition=5)
        await process.deliver(record)
        assert process.tally("o1") is None
        assert process.fetching.pauses == []


class TestAJumpAhead:
    async def test_rewinds_the_partition_and_nothing_is_lost(self, process: Process) -> None:
        first, _, third = (process.site.broker.put(ask("o1", number=number)) for number in (1, 2, 3))
        await process.deliver(first)
        await process.deliver(third)
        assert process.seen("o1") == ("ask-o1-1",)
        assert process.fetching.seeks == [{COMMANDS: 1}]
        await process.fetch()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2", "ask-o1-3")

    async def test_rewinds_it_once_however_many_follow(self, process: Process) -> None:
        records = [process.site.broker.put(ask("o1", number=number)) for number in range(6)]
        await process.deliver(records[1], records[2])
        await process.deliver(records[3])
        await process.deliver(records[4], records[5])
        assert process.fetching.seeks == [{COMMANDS: 0}]
        assert process.tally("o1") is None

    async def test_is_accepted_when_the_same_comes_again(self, process: Process) -> None:
        process.site.broker.put(ask("o1", number=1))
        process.site.broker.skip(COMMANDS, 2)
        process.site.broker.put(ask("o1", number=2))
        process.fetching.at[COMMANDS] = 0
        await process.fetch_all()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert recorded(process) == 3

    async def test_what_was_under_way_before_the_rewind_is_dropped(self, process: Process) -> None:
        records = [process.site.broker.put(ask("o1", number=number)) for number in range(5)]
        await process.deliver(records[2])
        await process.deliver(records[3])
        # These come from the position that was sought.
        await process.deliver(*records[:3])
        await process.deliver(*records[3:])
        assert process.seen("o1") == tuple(f"ask-o1-{number}" for number in range(5))

    async def test_of_one_partition_leaves_the_others_alone(self, site: Site) -> None:
        process = site.process()
        await process.join(COMMANDS, SECOND)
        _, ahead = site.broker.put(ask("o1")), site.broker.put(ask("o1", number=2))
        await process.deliver(ahead, site.broker.put(ask("o2"), partition=1))
        assert process.seen("o2") == ("ask-o2-1",)
        assert process.fetching.seeks == [{COMMANDS: 0}]

    async def test_behind_messages_of_the_batch_that_a_rewind_has_brought_is_rewound_as_well(
        self, process: Process
    ) -> None:
        """Schedule: 0 is lost on the way, 1 does not exist, 2 is the last there is."""
        first = process.site.broker.put(ask("o1", number=1))
        process.site.broker.skip(COMMANDS)
        last = process.site.broker.put(ask("o1", number=2))
        await process.deliver(last)
        process.fetching.at[COMMANDS] = 3
        await process.deliver(first, last)
        await process.fetch_all()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")

    async def test_is_counted(self, process: Process) -> None:
        process.site.broker.put(ask("o1"))
        await process.deliver(process.site.broker.put(ask("o1", number=2)))
        assert process.metric("orderflow_rewinds_total", why="gap") == 1

    def test_after_the_rewind_only_an_offset_that_does_not_rise_is_accepted(self) -> None:
        position = Position(recorded=4)
        assert position.place(8) is Place.AHEAD
        assert position.rewind()
        assert position.place(9) is Place.AHEAD
        assert not position.rewind()
        assert position.place(8) is Place.NEXT

    def test_progress_makes_the_next_jump_a_new_one(self) -> None:
        position = Position(recorded=4)
        position.place(8)
        position.rewind()
        position.advance(5)
        assert position.place(8) is Place.AHEAD
        assert position.rewind()


class TestFencing:
    """The ledger is written by compare-and-set from the value last read."""

    async def test_a_paused_process_that_comes_back_writes_nothing(self, site: Site) -> None:
        zombie = await site.joined("inventory-0/a")
        await zombie.take(ask("o1", number=1))
        successor = await site.joined("inventory-1/b")
        await successor.take(ask("o1", number=2))
        before = successor.everything()
        await zombie.take(ask("o1", number=3))
        assert successor.everything() == before
        assert successor.seen("o1") == ("ask-o1-1", "ask-o1-2")

    async def test_it_gives_the_partition_up(self, site: Site) -> None:
        zombie = await site.joined("inventory-0/a")
        await site.joined("inventory-1/b")
        await zombie.take(ask("o1"))
        assert COMMANDS not in zombie.processor.positions
        assert COMMANDS in zombie.fetching.paused
        assert zombie.tally("o1") is None

    async def test_also_where_the_successor_has_recorded_nothing_yet(self, site: Site) -> None:
        zombie = await site.joined("inventory-0/a")
        successor = await site.joined("inventory-1/b")
        await zombie.take(ask("o1"))
        await successor.fetch()
        assert successor.seen("o1") == ("ask-o1-1",)

    @pytest.mark.parametrize(("before", "owner"), [(4, "a/1"), (6, "a/1"), (5, "b/1")])
    async def test_offset_and_owner_are_compared(self, process: Process, before: int, owner: str) -> None:
        now = process.site.clock.now()
        with process.engine.begin() as connection:
            ledger.claim(connection, "g", [COMMANDS], "a/1", now)
            ledger.advance(connection, "g", "a/1", {COMMANDS: (-1, 5, "e5")}, now)
            with pytest.raises(Fenced) as fenced:
                ledger.advance(connection, "g", owner, {COMMANDS: (before, 7, "e7")}, now)
            assert fenced.value.partition == COMMANDS
            assert ledger.read(connection, "g", [COMMANDS])[COMMANDS].offset == 5

    async def test_a_partition_that_is_lost_takes_no_other_along(self, site: Site) -> None:
        """Schedule: one batch of two partitions, of which another process has taken over one; nothing follows."""
        process = site.process("inventory-0/a")
        await process.join(COMMANDS, SECOND)
        other_process = site.process("inventory-1/b")
        await other_process.join(COMMANDS)
        site.broker.put(ask("o1"))
        site.broker.put(ask("o2"), partition=1)
        await process.fetch()
        assert process.tally("o1") is None
        assert process.seen("o2") == ("ask-o2-1",)
        assert set(process.processor.positions) == {SECOND}

    async def test_a_late_release_takes_nothing_from_the_successor(self, site: Site) -> None:
        zombie = await site.joined("inventory-0/a")
        successor = await site.joined("inventory-1/b")
        await zombie.leave()
        assert set(column(successor.rows(consumed_offsets), "owner")) == {"inventory-1/b"}
        await successor.take(ask("o1"))
        assert successor.seen("o1") == ("ask-o1-1",)


class TestAnotherTopicUnderTheSameName:
    """The ledger remembers the last event id: start at the earliest, and let the inbox deduplicate."""

    async def restarted(self, site: Site) -> Process:
        process = await site.joined("inventory-1/b")
        await process.fetch_all()
        return process

    async def test_a_recreated_topic_of_the_same_length_is_noticed(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=1), ask("o1", number=2))
        await process.leave()
        site.broker.recreate(COMMANDS)
        for number in (7, 8, 2):
            site.broker.put(ask("o1", number=number))
        restarted = await self.restarted(site)
        assert restarted.seen("o1") == ("ask-o1-1", "ask-o1-2", "ask-o1-7", "ask-o1-8")
        assert recorded(restarted) == 2

    async def test_a_recreated_topic_that_is_shorter_is_noticed(self, site: Site, process: Process) -> None:
        await process.take(*(ask("o1", number=number) for number in (1, 2, 3)))
        await process.leave()
        site.broker.recreate(COMMANDS)
        site.broker.put(ask("o1", number=9))
        restarted = await self.restarted(site)
        assert restarted.seen("o1")[-1] == "ask-o1-9"
        assert recorded(restarted) == 0

    async def test_a_recreated_topic_that_is_empty_is_noticed(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=1), ask("o1", number=2))
        await process.leave()
        site.broker.recreate(COMMANDS)
        restarted = await self.restarted(site)
        await restarted.take(ask("o1", number=3))
        assert restarted.seen("o1")[-1] == "ask-o1-3"
        assert recorded(restarted) == 0

    async def test_the_same_topic_is_gone_on_with(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=1), ask("o1", number=2))
        await process.leave()
        restarted = await site.joined("inventory-1/b")
        await restarted.fetch()
        assert recorded(restarted) == 1
        assert restarted.metric("orderflow_rewinds_total", why="start-over") == 0
        assert not restarted.fetching.seeks

    async def test_it_is_noticed_without_a_new_assignment(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=1), ask("o1", number=2), ask("o1", number=3))
        site.broker.recreate(COMMANDS)
        process.fetching.at[COMMANDS] = 0
        await process.take(ask("o1", number=8), ask("o1", number=9))
        await process.fetch_all()
        assert process.seen("o1")[-2:] == ("ask-o1-8", "ask-o1-9")

    async def test_a_start_over_is_not_undone_by_a_jump_in_the_same_batch(self, site: Site, process: Process) -> None:
        """Schedule: the batch in which the other topic is noticed has a gap; nothing follows it."""
        await process.take(ask("o1", number=1), ask("o1", number=2))
        await process.leave()
        site.broker.recreate(COMMANDS)
        records = [site.broker.put(ask("o1", number=number)) for number in range(11, 16)]
        restarted = await site.joined("inventory-1/b")
        restarted.fetching.at[COMMANDS] = 5
        await restarted.deliver(records[1], records[3], records[4])
        await restarted.fetch_all()
        assert restarted.seen("o1")[2:] == tuple(f"ask-o1-{number}" for number in range(11, 16))

    async def test_a_truncated_topic_starts_at_the_earliest_message(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=0))
        await process.leave()
        for number in range(1, 6):
            site.broker.put(ask("o1", number=number))
        site.broker.expire(COMMANDS, before=4)
        restarted = await self.restarted(site)
        assert restarted.seen("o1") == ("ask-o1-0", "ask-o1-4", "ask-o1-5")
        assert recorded(restarted) == 5

    async def test_messages_that_expired_unread_are_reported(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=0))
        await process.leave()
        for number in range(1, 6):
            site.broker.put(ask("o1", number=number))
        site.broker.expire(COMMANDS, before=4)
        restarted = await self.restarted(site)
        assert restarted.metric("orderflow_expired_messages_total", topic=COMMANDS[0]) == 3

    async def test_a_start_over_after_which_nothing_came_is_gone_on_from(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=0))
        for number in range(1, 6):
            site.broker.put(ask("o1", number=number))
        site.broker.expire(COMMANDS, before=4)
        await process.leave()
        for owner in ("inventory-1/b", "inventory-2/c"):
            restarted = site.process(owner)
            assert (await restarted.join())[COMMANDS] == 4
            await restarted.leave()

    async def test_messages_that_were_read_and_expired_are_not_reported(self, site: Site, process: Process) -> None:
        await process.take(ask("o1", number=0), ask("o1", number=1))
        await process.leave()
        site.broker.expire(COMMANDS, before=2)
        restarted = await self.restarted(site)
        await restarted.take(ask("o1", number=2))
        assert restarted.seen("o1") == ("ask-o1-0", "ask-o1-1", "ask-o1-2")
        assert restarted.metric("orderflow_expired_messages_total", topic=COMMANDS[0]) == 0

    async def test_a_new_group_misses_nothing_it_ever_had(self, site: Site) -> None:
        for number in range(4):
            site.broker.put(ask("o1", number=number))
        site.broker.expire(COMMANDS, before=2)
        process = await site.joined()
        await process.fetch_all()
        assert process.seen("o1") == ("ask-o1-2", "ask-o1-3")
        assert process.metric("orderflow_expired_messages_total", topic=COMMANDS[0]) == 0

    async def test_messages_that_mean_nothing_here_do_not_pass_for_another_topic(self, process: Process) -> None:
        await process.take(other("o1"), other("o2"))
        await process.deliver(*process.site.broker.records(COMMANDS, 0))
        assert process.metric("orderflow_rewinds_total", why="start-over") == 0

    async def answered(self, site: Site) -> Process:
        """Have a call's outcome published, and marked as that, and not yet read."""
        process = await site.joined()
        await process.take(ask("o1", "call"))
        await process.settle()
        await process.publish()
        # The mark is written with the next batch.
        await process.deliver(site.broker.put(reply("another")))
        assert all(row["published_at"] for row in process.rows(outbox))
        return process

    async def test_what_the_context_sent_to_itself_and_lost_with_the_topic_is_published_again(self, site: Site) -> None:
        """Schedule: the call's outcome is published, the topic is made anew before it is read; nothing follows."""
        process = await self.answered(site)
        await process.leave()
        site.broker.recreate(COMMANDS)
        restarted = await self.restarted(site)
        site.clock.advance(2)
        assert await restarted.relay.publish_once() == 1
        await restarted.fetch_all()
        assert answer_of("o1") in restarted.seen("o1")

    async def test_what_it_has_processed_is_not(self, site: Site) -> None:
        process = await self.answered(site)
        await process.fetch_all()
        await process.leave()
        site.broker.recreate(COMMANDS)
        restarted = await self.restarted(site)
        site.clock.advance(2)
        assert await restarted.relay.publish_once() == 0

    async def test_what_the_inbox_may_have_dropped_is_not(self, site: Site) -> None:
        process = await self.answered(site)
        await process.leave()
        with process.engine.begin() as connection:
            connection.execute(
                horizons.insert().values(table="processed_events", until=NOON + timedelta(days=1), dropped=1)
            )
        site.broker.recreate(COMMANDS)
        restarted = await self.restarted(site)
        site.clock.advance(2)
        assert await restarted.relay.publish_once() == 0


async def test_the_last_event_id_is_recorded_whatever_became_of_the_message(process: Process) -> None:
    await process.take(ask("o1"), other("o1"))
    assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["last_event_id"] == "other-o1"
    process.site.broker.put(b"{", topic=COMMANDS[0])
    await process.fetch()
    ((unread,),) = [[row["event_id"] for row in process.rows(processed_events) if row["status"] == "dead"]]
    assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["last_event_id"] == unread
