"""A database or broker that is away is no message's fault: drop the batch, pause, say so, go on from the ledger."""

import asyncio

import pytest
from sqlalchemy.exc import OperationalError

from harness.process import Process, Site, by, column, until
from harness.tally import answer_of, ask, reserved
from orderflow.runtime import ledger
from orderflow.runtime.schema import consumed_offsets, dead_letters, message_attempts, outbox, tasks

COMMANDS = ("inventory-commands", 0)
REPLIES = ("order-events", 0)


def always(_statement: str) -> bool:
    return True


class TestWhileTheDatabaseIsAway:
    async def test_no_message_is_blamed(self, process: Process) -> None:
        process.faults.on = always
        await process.take(ask("o1"), ask("o2"))
        process.faults.mend()
        await process.settled_down()
        assert process.rows(dead_letters) == process.rows(message_attempts) == []

    async def test_fetching_is_paused(self, process: Process) -> None:
        process.faults.on = always
        await process.take(ask("o1"))
        await until(lambda: process.fetching.paused == {COMMANDS, REPLIES})
        process.faults.mend()
        await process.settled_down()
        assert not process.fetching.paused

    async def test_the_processor_says_what_is_away_until_it_is_back(self, process: Process) -> None:
        process.faults.on = always
        await process.take(ask("o1"))
        await until(lambda: process.processor.away == "database")
        assert process.metric("orderflow_paused", what="database") == 1
        process.faults.mend()
        await process.settled_down()
        assert process.metric("orderflow_paused", what="database") == 0

    async def test_the_batch_is_dropped_and_read_again_from_the_ledger(self, process: Process) -> None:
        await process.take(ask("o1", number=1))
        process.faults.on = always
        await process.take(ask("o1", number=2), ask("o1", number=3))
        process.faults.mend()
        await process.settled_down()
        assert process.fetching.seeks == [{COMMANDS: 1, REPLIES: 0}]
        await process.fetch()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2", "ask-o1-3")

    async def test_what_is_delivered_meanwhile_is_dropped_too(self, process: Process) -> None:
        process.faults.on = always
        await process.take(ask("o1", number=1))
        await until(lambda: process.processor.away)
        await process.deliver(process.site.broker.put(ask("o1", number=2)))
        process.faults.mend()
        await process.settled_down()
        await process.fetch()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")

    async def test_the_cache_is_forgotten(self, process: Process) -> None:
        await process.take(ask("o1"))
        process.faults.on_commit = "before"
        await process.take(ask("o1", number=2))
        await process.settled_down()
        assert not process.table.data

    async def test_a_failure_in_the_middle_of_message_by_message_is_no_messages_fault_either(
        self, process: Process
    ) -> None:
        """Schedule: one message has a data error; while the batch is redone, the disk fails under another."""
        for message in (ask("o1", "violate"), ask("o2"), ask("o3")):
            process.site.broker.put(message)
        savepoints = 0

        def fail(statement: str) -> bool:
            nonlocal savepoints
            savepoints += statement.startswith("SAVEPOINT")
            return savepoints == 2 and statement.startswith("INSERT INTO tallies")

        process.faults.on = fail
        await process.fetch()
        process.faults.mend()
        await process.settled_down()
        assert process.rows(dead_letters) == []
        await process.fetch()
        assert column(process.rows(dead_letters), "event_id") == ["ask-o1-1"]
        assert process.seen("o2")
        assert process.seen("o3")

    async def test_a_call_that_was_made_is_recorded_when_it_is_back(self, process: Process) -> None:
        await process.take(ask("o1", "call"))
        await process.answered(1)
        process.faults.on = always
        with pytest.raises(OperationalError):
            await process.tasks.settle_once()
        process.faults.mend()
        await process.settle()
        assert answer_of("o1") in column(process.rows(outbox), "event_id")
        assert process.site.provider.asked == [("call", "key-o1")]

    async def test_an_assignment_waits_for_it(self, site: Site) -> None:
        process = site.process()
        process.faults.on = always
        taking = asyncio.create_task(process.processor.assigned_when_possible([COMMANDS]))
        await until(lambda: len(process.faults.statements) > 3)
        assert not taking.done()
        process.faults.mend()
        assert await taking == {COMMANDS: 0}


class TestWhileTheBrokerIsAway:
    async def test_decisions_go_on_and_their_messages_wait_in_the_outbox(self, process: Process) -> None:
        await process.outgoing.start()
        process.site.broker.down = True
        await process.take(ask("o1"))
        await until(lambda: process.outgoing.failing_since is not None)
        assert process.seen("o1")
        assert column(process.rows(outbox), "published_at") == [None]
        process.site.broker.down = False
        process.site.clock.advance(2)
        await process.relay.publish_once()
        assert process.site.broker.ids() == [reserved(ask("o1"))]

    async def test_a_batch_that_needs_it_is_no_messages_fault(self, process: Process) -> None:
        """Schedule: the topic turns out to be another one, and where that begins the broker does not say."""
        await process.take(ask("o1", number=1), ask("o1", number=2))
        process.site.broker.recreate(COMMANDS)
        process.site.broker.down = True
        await process.deliver(process.site.broker.put(ask("o1", number=3)))
        await until(lambda: process.processor.away == "broker")
        assert COMMANDS in process.fetching.paused
        assert process.rows(dead_letters) == []
        process.site.broker.down = False
        await process.settled_down()
        process.fetching.at[COMMANDS] = 0
        await process.fetch_all()
        assert process.seen("o1")[-1] == "ask-o1-3"

    async def test_an_assignment_waits_for_it(self, site: Site) -> None:
        process = site.process()
        site.broker.down = True
        taking = asyncio.create_task(process.processor.assigned_when_possible([COMMANDS]))
        await until(lambda: process.faults.statements.count("BEGIN") > 2)
        assert not taking.done()
        site.broker.down = False
        assert await taking == {COMMANDS: 0}


class TestACommitOfWhichNobodyHeard:
    async def test_doubles_nothing(self, process: Process) -> None:
        process.faults.on_commit = "after"
        await process.take(ask("o1", "call", items={"p": 1}), ask("o2"))
        await process.settled_down()
        assert process.processor.positions[COMMANDS].recorded == 1
        await process.fetch()
        await process.take(ask("o1", number=2))
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert len(process.rows(outbox)) == 4
        assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["offset"] == 2

    async def test_loses_none_of_its_messages(self, process: Process) -> None:
        process.faults.on_commit = "after"
        await process.take(ask("o1"))
        await process.settled_down()
        process.site.clock.advance(2)
        await process.relay.publish_once()
        assert process.site.broker.ids() == [reserved(ask("o1"))]

    async def test_loses_none_of_its_calls(self, process: Process) -> None:
        process.faults.on_commit = "after"
        await process.take(ask("o1", "call"))
        await process.settled_down()
        assert process.site.provider.asked == []
        process.site.clock.advance(11)
        await process.tasks.run_due_once()
        await process.settle()
        assert column(process.rows(tasks), "status") == ["done"]

    async def test_records_an_outcome_once(self, process: Process) -> None:
        await process.take(ask("o1", "call"))
        await process.answered(1)
        process.faults.on_commit = "after"
        with pytest.raises(OperationalError):
            await process.tasks.settle_once()
        await process.tasks.settle_once()
        assert column(process.rows(outbox), "event_id").count(answer_of("o1")) == 1


class TestGoingOn:
    async def test_a_partition_that_somebody_took_meanwhile_is_given_up(self, site: Site, process: Process) -> None:
        process.faults.on = always
        await process.take(ask("o1"))
        successor = await site.joined("inventory-1/b")
        process.faults.mend()
        await process.settled_down()
        assert process.processor.positions == {}
        await successor.fetch()
        assert successor.seen("o1") == ("ask-o1-1",)

    @pytest.mark.parametrize("away", ["database", "broker"])
    async def test_it_waits_for_both(self, process: Process, away: str) -> None:
        if away == "broker":
            process.site.broker.down = True
            process.faults.on_commit = "before"
        else:
            process.faults.on = always
        await process.take(ask("o1"))
        await until(lambda: process.processor.away)
        for _ in range(20):
            await asyncio.sleep(0)
        assert process.processor.away
        process.site.broker.down = False
        process.faults.mend()
        await process.settled_down()
        await process.fetch()
        assert process.seen("o1")

    async def test_where_the_ledger_was_set_back_the_messages_are_decided_again(self, process: Process) -> None:
        """As after a restore of the database: the ledger alone knows what is in it."""
        await process.take(ask("o1", number=1))
        process.faults.on = always
        await process.take(ask("o1", number=2))
        await until(lambda: process.processor.away)
        with process.site.process("somebody/1").engine.begin() as connection:
            step = {COMMANDS: (0, -1, "")}
            ledger.advance(connection, "inventory", "inventory-0/a", step, process.site.clock.now())
        process.faults.mend()
        await process.settled_down()
        assert process.fetching.seeks == [{COMMANDS: 0, REPLIES: 0}]
