"""Timers: a deadline waits for its request to be out and for the replies that were there when it came due."""

from typing import Any

import msgspec

from harness.process import Process, Site, by, column
from harness.tally import ask, other, reply, timer_of, undo, woken
from orderflow.contracts import codec
from orderflow.contracts.outcomes import ReservationDue
from orderflow.runtime.broker import partition_of
from orderflow.runtime.recorder import LEASE
from orderflow.runtime.schema import outbox, tasks

COMMANDS = ("inventory-commands", 0)
REPLIES = ("order-events", 0)


def timer(process: Process, order: str = "o1") -> dict[str, Any]:
    (row,) = [row for row in process.rows(tasks) if row["task_id"] == timer_of(order)]
    return row


def fired(process: Process) -> list[str]:
    return [row["key"] for row in process.rows(outbox) if row["event_type"] == "ReservationDue"]


async def look(process: Process, seconds: float = 0) -> list[str]:
    """Let time pass, look for due tasks, record what came of it, and return whose timers have fired so far."""
    process.site.clock.advance(seconds)
    await process.tasks.run_due_once()
    await process.tasks.settle_once()
    return fired(process)


async def published(process: Process) -> None:
    """Have everything out and marked, by way of another process's relay."""
    process.site.clock.advance(2)
    await process.site.process("inventory-9/relay").relay.publish_once()


async def test_a_timer_does_not_fire_before_its_time(process: Process) -> None:
    await process.take(ask("o1", "timer"))
    assert await look(process, 59.9) == []
    assert await look(process, 0.1) == ["o1"]


async def test_it_delivers_the_message_that_was_prepared_to_the_contexts_own_command_topic(process: Process) -> None:
    request = ask("o1", "timer")
    await process.take(request)
    await look(process, 60)
    row = by(process.rows(outbox), "event_id")[woken(request)]
    assert row["topic"] == "inventory-commands"
    message = codec.decode(row["payload"])
    assert isinstance(message, ReservationDue)
    assert message.review == 0


async def test_it_fires_once(site: Site, process: Process) -> None:
    await process.take(ask("o1", "timer"))
    second = site.process("inventory-1/b")
    site.clock.advance(60)
    await process.tasks.run_due_once()
    site.clock.advance(LEASE.total_seconds() + 1)
    await second.tasks.run_due_once()
    await second.tasks.settle_once()
    await process.tasks.settle_once()
    assert await look(process, 1000) == ["o1"]
    assert timer(process)["status"] == "done"


async def test_the_replys_own_transaction_cancels_it(process: Process) -> None:
    await process.take(ask("o1", "timer"))
    await process.take(reply("o1"))
    assert timer(process)["status"] == "ended"
    assert await look(process, 1000) == []


async def test_also_if_it_has_come_due_and_is_in_hand(process: Process) -> None:
    await process.take(ask("o1", "timer"))
    process.site.clock.advance(60)
    await process.tasks.run_due_once()
    await process.take(reply("o1"))
    await process.tasks.settle_once()
    assert fired(process) == []


async def test_a_decision_that_is_not_recorded_cancels_nothing(process: Process) -> None:
    await process.take(ask("o1", "timer"))
    process.faults.on_commit = "before"
    process.site.broker.put(reply("o1"))
    (record,) = process.site.broker.records(REPLIES, 0)
    await process.deliver(record)
    process.fetching.at[REPLIES] = 1
    assert timer(process)["status"] == "open"


class TestADeadlineIsPostponed:
    async def test_while_its_request_is_unpublished(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        assert await look(process, 60) == []
        assert await look(process, 60) == []
        await published(process)
        assert await look(process) == ["o1"]

    async def test_until_the_ledger_has_passed_what_stood_in_the_reply_topics(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await published(process)
        for order in ("o7", "o8"):
            process.site.broker.put(reply(order))
        assert await look(process, 60) == []
        assert await look(process, 60) == []
        await process.fetch()
        assert await look(process, 1) == ["o1"]

    async def test_and_is_cancelled_if_its_reply_was_among_it(self, process: Process) -> None:
        """A backlog is no failure."""
        await process.take(ask("o1", "deadline"))
        await published(process)
        process.site.broker.put(reply("o7"))
        process.site.broker.put(reply("o1"))
        assert await look(process, 60) == []
        await process.fetch()
        assert await look(process, 60) == []
        assert timer(process)["status"] == "ended"

    async def test_by_what_came_after_its_time_too_if_that_was_there_when_it_was_read(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await published(process)
        process.site.clock.advance(60)
        process.site.broker.put(reply("o1"))
        assert await look(process) == []

    async def test_but_not_by_what_comes_after_that(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await published(process)
        process.site.broker.put(reply("o7"))
        await look(process, 60)
        await process.fetch()
        process.site.broker.put(reply("o8"))
        assert await look(process, 1) == ["o1"]

    async def test_the_ends_are_read_once_and_after_its_time(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await published(process)
        before = process.site.broker.asked_for_ends
        await look(process, 50)
        assert process.site.broker.asked_for_ends == before
        process.site.broker.put(reply("o7"))
        for _ in range(3):
            await look(process, 10)
        assert process.site.broker.asked_for_ends == before + 1
        assert msgspec.json.decode(timer(process)["horizon"]) == {"order-events": 1}

    async def test_while_the_broker_cannot_tell(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await published(process)
        process.site.broker.down = True
        assert await look(process, 60) == []
        process.site.broker.down = False
        assert await look(process, 1) == ["o1"]

    async def test_for_half_a_second_at_a_time(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        await look(process, 60)
        await published(process)
        assert (timer(process)["due_at"] - process.site.clock.now()).total_seconds() == 0.5 - 2

    async def test_which_counts_as_no_failure(self, process: Process) -> None:
        await process.take(ask("o1", "deadline"))
        for _ in range(5):
            await look(process, 60)
        task = timer(process)
        assert (task["attempts"], task["claimed_by"], task["status"]) == (0, None, "open")

    async def test_by_the_partition_of_its_own_order_alone(self, site: Site) -> None:
        site.broker.partitions = 4
        process = await site.joined()
        mine = partition_of("o1", 4)
        assert mine != 0
        request = site.broker.put(ask("o1", "deadline"), partition=mine)
        await process.deliver(request)
        await published(process)
        for number in range(4):
            if number != mine:
                site.broker.put(reply("o7"), partition=number)
        assert await look(process, 60) == ["o1"]

    async def test_by_the_backlog_of_its_own_partition(self, site: Site) -> None:
        site.broker.partitions = 4
        process = await site.joined()
        mine = partition_of("o1", 4)
        await process.deliver(site.broker.put(ask("o1", "deadline"), partition=mine))
        await published(process)
        site.broker.put(reply("o7"), partition=mine)
        assert await look(process, 60) == []
        await process.fetch()
        assert await look(process, 1) == ["o1"]

    async def test_not_for_ever_by_what_stood_in_a_topic_that_is_no_more(self, site: Site, process: Process) -> None:
        """Schedule: the ends are read, the reply topic is lost and made anew before the ledger has come there."""
        await process.take(ask("o1", "deadline"))
        await published(process)
        await process.take(reply("o6"))
        for order in ("o7", "o8", "o9"):
            site.broker.put(reply(order))
        assert await look(process, 60) == []
        await process.leave()
        site.broker.recreate(REPLIES)
        successor = await site.joined("inventory-1/b")
        assert await look(successor, 60) == ["o1"]


async def test_timers_that_wait_keep_no_others_waiting(process: Process) -> None:
    await process.take(ask("o1", "deadline"), ask("o2", "timer"))
    assert await look(process, 60) == ["o2"]


async def test_a_timer_that_this_revision_cannot_read_waits_and_keeps_nobody_waiting(process: Process) -> None:
    await process.take(ask("o1", "timer"), ask("o2", "timer"))
    with process.engine.begin() as connection:
        body = timer(process, "o1")["body"].replace(b'"ReservationDue"', b'"FromTheFuture"')
        connection.execute(tasks.update().where(tasks.c.task_id == timer_of("o1")).values(body=body))
    assert await look(process, 60) == ["o2"]
    assert (timer(process, "o1")["status"], timer(process, "o1")["last_error"]) == ("open", "unknown-type")


async def test_a_message_that_means_nothing_or_undoes_something_else_cancels_nothing(process: Process) -> None:
    await process.take(ask("o1", "timer"), other("o1"), undo("o2"))
    assert column(process.rows(tasks), "status") == ["open"]
