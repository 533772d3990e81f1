"""Calls to the outside: made until a definitive answer, whose outcome and the task's end are one compare-and-set."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from harness.fakes import DONE, ScriptedProvider
from harness.process import Api, Process, Site, by, column, until
from harness.tally import NOON, answer_of, ask, call_of, reply
from orderflow.contracts import codec
from orderflow.contracts.decision import Call
from orderflow.contracts.envelope import Metadata
from orderflow.contracts.outcomes import ReservationDue
from orderflow.providers.protocol import ProviderAnswer, Unavailable, Unclear
from orderflow.runtime import task_rows
from orderflow.runtime import tasks as tasks_module
from orderflow.runtime.recorder import LEASE
from orderflow.runtime.schema import outbox, tasks
from orderflow.runtime.task_rows import Cause, Task

PENDING = ProviderAnswer(status="pending")


def task_of(process: Process, order: str = "o1") -> dict[str, Any]:
    (row,) = [row for row in process.rows(tasks) if row["task_id"] == call_of(order)]
    return row


def outcomes(process: Process) -> list[str]:
    return [row["event_id"] for row in process.rows(outbox) if row["event_type"] == "ReservationDue"]


async def come_due(process: Process, seconds: float = 31) -> int:
    """Let time pass and look for due tasks."""
    process.site.clock.advance(seconds)
    return await process.tasks.run_due_once()


@pytest.fixture
def later() -> list[float]:
    """Seconds by which the loop's clock, which the breakers go by, is ahead."""
    return [0.0]


def move_loop_clock(later: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + later[0])


class TestADefinitiveAnswer:
    async def test_ends_the_task_and_becomes_a_message_to_the_contexts_own_command_topic(
        self, process: Process
    ) -> None:
        await process.take(ask("o1", "call"))
        await process.settle()
        assert process.site.provider.asked == [("call", "key-o1")]
        assert task_of(process)["status"] == "done"
        row = by(process.rows(outbox), "event_id")[answer_of("o1")]
        assert (row["topic"], row["key"]) == ("inventory-commands", "o1")
        message = codec.decode(row["payload"])
        assert isinstance(message, ReservationDue)
        assert message.reservation_id == "ref"
        assert (message.metadata.source, message.metadata.causation_id) == ("inventory", call_of("o1"))
        assert message.metadata.correlation_id == "o1"

    async def test_comes_back_through_the_broker_to_be_decided(self, process: Process) -> None:
        await process.outgoing.start()
        await process.take(ask("o1", "call"))
        await process.settle()
        await until(lambda: answer_of("o1") in process.site.broker.ids())
        await process.fetch_all()
        assert process.seen("o1") == ("ask-o1-1", answer_of("o1"))

    async def test_is_recorded_with_the_end_of_its_task_or_not_at_all(self, process: Process) -> None:
        await process.take(ask("o1", "call"))
        process.faults.on_commit = "before"
        await process.answered(1)
        with pytest.raises(OperationalError):
            await process.tasks.settle_once()
        assert task_of(process)["status"] == "open"
        assert outcomes(process) == []
        await process.settle()
        assert (task_of(process)["status"], outcomes(process)) == ("done", [answer_of("o1")])

    async def test_to_a_task_that_was_ended_meanwhile_is_dropped(self, process: Process) -> None:
        gate = asyncio.Event()
        process.site.provider.script = [gate]
        await process.take(ask("o1", "call"))
        await process.take(reply("o1"))
        assert task_of(process)["status"] == "ended"
        gate.set()
        await process.settle()
        assert (task_of(process)["status"], outcomes(process)) == ("ended", [])

    async def test_stands_when_the_task_is_not_needed_any_more(self, process: Process) -> None:
        await process.take(ask("o1", "call"))
        await process.settle()
        await process.take(reply("o1"))
        assert (task_of(process)["status"], outcomes(process)) == ("done", [answer_of("o1")])

    async def test_of_somebody_whose_claim_went_to_another_is_dropped(self, site: Site) -> None:
        slow = await site.joined("inventory-0/a")
        gate = asyncio.Event()
        site.provider.script = [gate]
        await slow.take(ask("o1", "call"))
        quick = site.process("inventory-1/b")
        assert await come_due(quick, LEASE.total_seconds() + 1) == 1
        gate.set()
        await slow.settle()
        assert outcomes(slow) == []
        await quick.settle()
        assert (task_of(quick)["status"], outcomes(quick)) == ("done", [answer_of("o1")])

    async def test_that_two_have_got_is_recorded_once(self, site: Site) -> None:
        slow = await site.joined("inventory-0/a")
        gate = asyncio.Event()
        site.provider.script = [gate]
        await slow.take(ask("o1", "call"))
        quick = site.process("inventory-1/b")
        await come_due(quick, LEASE.total_seconds() + 1)
        await quick.settle()
        gate.set()
        await slow.settle()
        assert outcomes(slow) == [answer_of("o1")]

    async def test_that_cannot_be_recorded_keeps_no_other_waiting(self, process: Process) -> None:
        taken = {
            "event_id": answer_of("o1"),
            "event_type": "X",
            "topic": "t",
            "key": "k",
            "payload": b"",
            "headers": "",
        }
        with process.engine.begin() as connection:
            connection.execute(outbox.insert().values(**taken, created_at=process.site.clock.now()))
        await process.take(ask("o1", "call"), ask("o2", "call"))
        await process.answered(2)
        assert await process.tasks.settle_once() == 1
        assert task_of(process, "o2")["status"] == "done"
        assert task_of(process, "o1")["status"] == "open"

    async def test_alone_that_cannot_be_recorded_ends_no_process(self, process: Process) -> None:
        taken = {
            "event_id": answer_of("o1"),
            "event_type": "X",
            "topic": "t",
            "key": "k",
            "payload": b"",
            "headers": "",
        }
        with process.engine.begin() as connection:
            connection.execute(outbox.insert().values(**taken, created_at=process.site.clock.now()))
        await process.take(ask("o1", "call"))
        await process.answered(1)
        assert await process.tasks.settle_once() == 0
        assert task_of(process, "o1")["status"] == "open"


class TestAnUnclearOutcome:
    @pytest.mark.parametrize("known", [DONE, None], ids=["the call had arrived", "it had not"])
    async def test_is_queried_by_its_key_before_the_call_is_repeated(
        self, process: Process, known: ProviderAnswer | None
    ) -> None:
        process.site.provider.script = [Unclear("no answer")]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert task_of(process)["unclear"]
        if known is not None:
            process.site.provider.known["key-o1"] = known
        await come_due(process)
        await process.settle()
        expected = [("call", "key-o1"), ("query", "key-o1")] + ([] if known else [("call", "key-o1")])
        assert process.site.provider.asked == expected
        assert outcomes(process) == [answer_of("o1")]

    async def test_stays_unclear_whatever_the_next_failure_is(self, process: Process) -> None:
        process.site.provider.script = [Unclear("no answer"), Unavailable("closed")]
        await process.take(ask("o1", "call"))
        await process.settle()
        await come_due(process)
        await process.settle()
        assert task_of(process)["unclear"]

    async def test_is_what_a_time_out_leaves(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks_module, "CALL_TIMEOUT", 0.001)
        process.site.provider.script = [asyncio.Event()]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert (task_of(process)["unclear"], task_of(process)["attempts"]) == (True, 1)

    async def test_is_what_an_adapters_own_fault_leaves(self, process: Process) -> None:
        process.site.provider.script = [RuntimeError("half way")]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert task_of(process)["unclear"]

    async def test_is_what_an_answer_leaves_that_is_not_definitive(self, process: Process) -> None:
        process.site.provider.script = [PENDING]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert (task_of(process)["status"], task_of(process)["unclear"]) == ("open", True)
        assert outcomes(process) == []

    async def test_is_not_what_a_refusal_to_try_leaves(self, process: Process) -> None:
        process.site.provider.script = [Unavailable("closed")]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert not task_of(process)["unclear"]
        await come_due(process)
        await process.settle()
        assert process.site.provider.asked[1:] == [("call", "key-o1")]

    async def test_outlives_an_earlier_postponement_that_was_recorded_unheard(self, process: Process) -> None:
        """Schedule: the commit of a postponement takes place and is not heard of; the call is made again, without an
        answer; and only then both postponements are recorded."""
        process.site.provider.script = [Unavailable("busy"), Unclear("no answer"), DONE]
        await process.take(ask("o1", "call"))
        await process.answered(1)
        process.faults.on_commit = "after"
        with pytest.raises(OperationalError):
            await process.tasks.settle_once()
        await come_due(process)
        await process.settle(2)
        assert task_of(process)["unclear"]
        await come_due(process)
        await process.settle()
        assert [kind for kind, _ in process.site.provider.asked] == ["call", "call", "query", "call"]

    async def test_outlives_a_postponement_by_whoever_let_the_claim_run_out(self, process: Process) -> None:
        process.site.provider.script = [Unavailable("busy"), Unclear("no answer")]
        await process.take(ask("o1", "call"))
        await process.answered(1)
        await come_due(process, LEASE.total_seconds() + 1)
        await process.settle(2)
        assert task_of(process)["unclear"]

    async def test_is_what_a_lost_claim_leaves(self, site: Site) -> None:
        dead = await site.joined("inventory-0/a")
        site.provider.script = [asyncio.Event()]
        await dead.take(ask("o1", "call"))
        successor = site.process("inventory-1/b")
        assert await come_due(successor, LEASE.total_seconds() - 1) == 0
        assert await come_due(successor, 2) == 1
        await successor.settle()
        assert site.provider.asked == [("call", "key-o1"), ("query", "key-o1"), ("call", "key-o1")]


class TestClaims:
    async def test_who_records_a_call_has_claimed_it(self, site: Site) -> None:
        process = await site.joined("inventory-0/a")
        site.provider.script = [asyncio.Event()]
        await process.take(ask("o1", "call"))
        assert task_of(process)["claimed_by"] == "inventory-0/a"
        assert await site.process("inventory-1/b").tasks.run_due_once() == 0

    async def test_what_the_api_records_is_claimed_by_whoever_looks_first(self, site: Site, process: Process) -> None:
        Api(process).apply(ask("o1", "call"))
        assert [await other.tasks.run_due_once() for other in (process, site.process("inventory-1/b"))] == [1, 0]
        await process.settle()
        assert site.provider.asked == [("call", "key-o1")]

    async def test_a_claim_is_extended_while_the_call_is_made(self, site: Site, process: Process) -> None:
        site.provider.script = [asyncio.Event()]
        await process.take(ask("o1", "call"))
        for _ in range(10):
            site.clock.advance(3)
            await process.tasks.keep_claims()
        assert await site.process("inventory-1/b").tasks.run_due_once() == 0

    async def test_a_restart_frees_the_instances_own_claims_as_unclear(self, site: Site) -> None:
        dead = await site.joined("inventory-0/a")
        site.provider.script = [asyncio.Event(), asyncio.Event()]
        await dead.take(ask("o1", "call"))
        with dead.engine.begin() as connection:
            task_rows.free(connection, "inventory-0/reborn")
        assert (task_of(dead)["claimed_by"], task_of(dead)["unclear"]) == (None, True)
        assert await site.process("inventory-1/b").tasks.run_due_once() == 1

    @pytest.mark.parametrize("other", ["inventory-1/x", "inventory-01/x", "inventory/x"])
    async def test_and_nobody_elses(self, process: Process, other: str) -> None:
        process.site.provider.script = [asyncio.Event()]
        await process.take(ask("o1", "call"))
        with process.engine.begin() as connection:
            task_rows.free(connection, other)
        assert task_of(process)["claimed_by"] == "inventory-0/a"

    async def test_a_clean_stop_frees_them_too(self, site: Site, process: Process) -> None:
        site.provider.script = [asyncio.Event()]
        await process.take(ask("o1", "call"))
        await until(lambda: site.provider.asked)
        await process.tasks.stop()
        assert (task_of(process)["claimed_by"], task_of(process)["unclear"]) == (None, True)

    async def test_a_clean_stop_records_the_answers_it_has(self, process: Process) -> None:
        await process.take(ask("o1", "call"))
        await process.answered(1)
        await process.tasks.stop()
        assert outcomes(process) == [answer_of("o1")]

    async def test_a_call_that_was_ended_in_the_transaction_that_recorded_it_is_not_made(
        self, process: Process
    ) -> None:
        process.site.broker.put(ask("o1", "call"))
        process.site.broker.put(reply("o1"))
        await process.fetch()
        await process.tasks.keep_claims()
        assert process.site.provider.asked == []


class TestATransientFailure:
    async def test_backs_off_by_the_figures_of_the_requirements(self, process: Process) -> None:
        """2^n x 100 ms, three times, then every 30 s."""
        process.site.provider.script = [Unavailable("closed")] * 5
        await process.take(ask("o1", "call"))
        waits = []
        for _ in range(5):
            process.tasks._breakers["card"] = type(process.tasks._breakers["card"])()
            await process.settle()
            wait = task_of(process)["due_at"] - process.site.clock.now()
            waits.append(wait / timedelta(seconds=1))
            await come_due(process, waits[-1])
        assert waits == [0.2, 0.4, 0.8, 30, 30]

    async def test_is_not_repeated_before_its_time(self, process: Process) -> None:
        process.site.provider.script = [Unavailable("closed")]
        await process.take(ask("o1", "call"))
        await process.settle()
        assert await come_due(process, 0.19) == 0
        assert await come_due(process, 0.01) == 1

    async def test_running_out_of_attempts_is_never_an_answer(
        self, process: Process, later: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move_loop_clock(later, monkeypatch)
        process.site.provider.script = [Unavailable("closed")] * 3
        await process.take(ask("o1", "call"))
        await process.settle()
        with process.engine.begin() as connection:
            connection.execute(tasks.update().values(attempts=98))
        for _ in range(2):
            later[0] += 31
            assert await come_due(process) == 1
            await process.settle()
        assert (task_of(process)["status"], task_of(process)["attempts"]) == ("open", 100)
        assert outcomes(process) == []
        later[0] += 31
        await come_due(process)
        await process.settle()
        assert outcomes(process) == [answer_of("o1")]


class TestTheBreaker:
    async def opened(self, process: Process) -> None:
        process.site.provider.script = [Unavailable("closed")] * 5
        await process.take(*(ask(f"o{number}", "call") for number in range(1, 6)))
        await process.settle(5)

    async def test_opens_after_five_failures_and_postpones_without_spending_an_attempt(self, process: Process) -> None:
        await self.opened(process)
        await process.take(ask("o6", "call"))
        await process.settle()
        assert ("call", "key-o6") not in process.site.provider.asked
        task = task_of(process, "o6")
        assert (task["attempts"], task["unclear"], task["status"]) == (0, False, "open")
        assert task["due_at"] - process.site.clock.now() > timedelta(seconds=29)
        assert task["claimed_by"] is None

    async def test_half_opens_after_thirty_seconds_for_one_call(
        self, process: Process, later: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move_loop_clock(later, monkeypatch)
        await self.opened(process)
        asked = len(process.site.provider.asked)
        gate = asyncio.Event()
        process.site.provider.script = [gate]
        later[0] += 30
        assert await come_due(process, 30) == 5
        await process.answered(4)
        assert len(process.site.provider.asked) == asked + 1
        gate.set()
        await process.settle(5)
        assert column(process.rows(tasks), "attempts") == [1, 1, 1, 1, 1]
        await come_due(process)
        await process.settle(4)
        assert set(column(process.rows(tasks), "status")) == {"done"}

    async def test_is_each_providers_own(self, site: Site) -> None:
        site.providers["carrier"] = ScriptedProvider("carrier")
        process = await site.joined()
        await self.opened(process)
        process.tasks.start_now([call_on("carrier")])
        await until(lambda: site.providers["carrier"].asked)


async def test_calls_run_in_a_pool_per_provider(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "POOL", 1)
    site.providers["carrier"] = ScriptedProvider("carrier")
    process = await site.joined()
    site.provider.script = [asyncio.Event()]
    await process.take(ask("o1", "call"), ask("o2", "call"))
    await until(lambda: site.provider.asked)
    process.tasks.start_now([call_on("carrier")])
    await until(lambda: site.providers["carrier"].asked)
    assert len(site.provider.asked) == 1


def call_on(provider: str) -> Task:
    return Task(
        task_id="elsewhere",
        key="o9",
        body=Call(task_id="elsewhere", provider=provider, operation="charge", key="key-o9", arguments={}),
        cause=Cause(metadata=Metadata()),
        attempts=0,
        unclear=False,
        due_at=NOON,
    )
