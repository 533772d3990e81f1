"""The fast path publishes what the transaction just wrote, each key in order; the rest it leaves to the relay."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from harness.process import PATIENCE, Api, Process, Site, column, until
from harness.tally import ask, reserved
from orderflow.runtime import outgoing
from orderflow.runtime.broker import PublishFailed
from orderflow.runtime.schema import outbox


def answers(order: str, *numbers: int) -> list[str]:
    return [reserved(ask(order, number=number)) for number in numbers]


HELD_FOR = outgoing.PATIENCE


@pytest.fixture(autouse=True)
def quick_looks_and_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "LOOK_AGAIN", 0.001)
    monkeypatch.setattr(outgoing, "PATIENCE", timedelta(hours=1))


async def published(process: Process, *event_ids: str) -> None:
    """Wait until all of ``event_ids`` are on the broker."""
    await until(lambda: set(event_ids) <= set(process.site.broker.ids()))


async def test_what_was_committed_goes_out_without_waiting_for_the_relay(process: Process) -> None:
    await process.outgoing.start()
    await process.take(ask("o1"), ask("o2"))
    await published(process, *answers("o1", 1), *answers("o2", 1))


async def test_what_the_api_has_committed_goes_out_the_same_way(process: Process) -> None:
    await process.outgoing.start()
    applied = Api(process).apply(ask("o1"))
    process.outgoing.hand_over(applied.outbox, applied.blocked)
    await published(process, *answers("o1", 1))
    await until(lambda: None not in column(process.rows(outbox), "published_at"))


async def test_a_keys_messages_go_out_in_the_order_of_their_rows(process: Process) -> None:
    await process.outgoing.start()
    for number in range(1, 6):
        await process.take(ask("o1", number=number))
    await published(process, *answers("o1", 5))
    assert process.site.broker.ids() == answers("o1", 1, 2, 3, 4, 5)


async def test_a_row_is_marked_only_after_the_acknowledgement(process: Process) -> None:
    process.site.broker.held["o1"] = asyncio.Event()
    await process.outgoing.start()
    await process.take(ask("o1"))
    await process.take(ask("o2"))
    assert column(process.rows(outbox), "published_at") == [None, None]
    process.site.broker.held["o1"].set()
    await until(lambda: None not in column(process.rows(outbox), "published_at"))


async def test_a_row_is_marked_by_itself_if_nothing_follows(process: Process) -> None:
    await process.take(ask("o1"))
    await process.publish()
    assert column(process.rows(outbox), "published_at") == [process.site.clock.now()]


def test_within_a_second_of_it() -> None:
    assert outgoing.Outgoing.__init__.__kwdefaults__ == {"mark_after": 0.5}


async def test_the_next_transaction_takes_the_mark_along(process: Process) -> None:
    process.outgoing._mark_after = 1000
    await process.outgoing.start()
    await process.take(ask("o1"))
    await published(process, *answers("o1", 1))
    await until(process.outgoing.take_acknowledged)
    await process.take(ask("o2"))
    assert column(process.rows(outbox), "published_at") == [process.site.clock.now(), None]
    assert set(process.outgoing.in_hand) >= set(answers("o2", 1))
    assert not set(process.outgoing.in_hand) & set(answers("o1", 1))


async def test_a_mark_that_was_rolled_back_is_not_forgotten(process: Process) -> None:
    process.outgoing._mark_after = 1000
    await process.outgoing.start()
    await process.take(ask("o1"))
    await until(process.outgoing.take_acknowledged)
    process.faults.on_commit = "before"
    await process.take(ask("o2"))
    await until(lambda: not process.processor.away)
    await process.fetch()
    assert column(process.rows(outbox), "published_at")[0] is not None


def wait_in_thread(condition: Callable[[], bool]) -> bool:
    """Hold the thread that does the SQL until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.0005)
    return condition()


class TestARowThatHasAnEarlierOneInSomebodyElsesHand:
    async def blocked(self, process: Process) -> None:
        """The API has written a row of the order and not published it; then the processor writes one."""
        Api(process).apply(ask("o1", number=1))
        await process.outgoing.start()
        await process.take(ask("o1", number=2), ask("o2"))
        await published(process, *answers("o2", 1))

    async def test_waits_while_the_other_keys_go_on(self, process: Process) -> None:
        await self.blocked(process)
        assert process.site.broker.ids() == answers("o2", 1)
        assert answers("o1", 2)[0] in process.outgoing.in_hand

    async def test_goes_out_as_soon_as_that_one_is_marked(self, process: Process) -> None:
        await self.blocked(process)
        await process.take(ask("o1", number=3))
        process.site.clock.advance(2)
        await process.relay.publish_once()
        await published(process, *answers("o1", 3))
        assert process.site.broker.ids() == answers("o2", 1) + answers("o1", 1, 2, 3)

    async def test_is_left_to_the_relay_after_a_second(self, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
        assert timedelta(seconds=1) == HELD_FOR
        monkeypatch.setattr(outgoing, "PATIENCE", timedelta(0))
        await self.blocked(process)
        await until(lambda: answers("o1", 2)[0] not in process.outgoing.in_hand)
        assert process.site.broker.ids() == answers("o2", 1)
        process.site.clock.advance(2)
        await process.relay.publish_once()
        assert process.site.broker.ids() == answers("o2", 1) + answers("o1", 1, 2)

    async def test_waits_also_if_it_comes_while_others_are_looked_at(self, process: Process) -> None:
        """Schedule: the pump asks which rows are marked; before it is told, a row comes that waits for yet another."""
        Api(process).apply(ask("o3", number=1))
        late = Api(process).apply(ask("o3", number=2))
        loop, looks = asyncio.get_running_loop(), 0

        def come_meanwhile(statement: str) -> bool:
            nonlocal looks
            if statement.startswith("SELECT outbox.event_id"):
                looks += 1
                if looks == 1:
                    loop.call_soon_threadsafe(process.outgoing.hand_over, late.outbox, late.blocked)
                    assert wait_in_thread(lambda: answers("o3", 2)[0] in process.outgoing.in_hand)
            return False

        process.faults.on = come_meanwhile
        await self.blocked(process)
        await until(lambda: looks > 3)
        assert process.site.broker.ids() == answers("o2", 1)

    async def test_is_looked_up_in_the_very_transaction_also_by_the_api(self, process: Process) -> None:
        await process.take(ask("o1", number=1))
        applied = Api(process).apply(ask("o1", number=2))
        assert applied.blocked == {"o1": set(answers("o1", 1))}
        assert Api(process).apply(ask("o2")).blocked == {}

    async def test_is_not_held_up_by_rows_in_the_same_hand(self, process: Process) -> None:
        process.outgoing._mark_after = 1000
        process.site.broker.held["o1"] = asyncio.Event()
        await process.outgoing.start()
        await process.take(ask("o1", number=1))
        await process.take(ask("o1", number=2))
        process.site.broker.held.pop("o1").set()
        await published(process, *answers("o1", 1, 2))
        assert process.site.broker.ids() == answers("o1", 1, 2)


class TestAFailure:
    async def test_leaves_the_key_to_the_relay_with_its_later_rows(self, process: Process) -> None:
        process.site.broker.refused.add("o1")
        await process.outgoing.start()
        await process.take(ask("o1", number=1))
        await until(lambda: not process.outgoing.in_hand)
        process.site.broker.refused.clear()
        await process.take(ask("o1", number=2), ask("o2"))
        await published(process, *answers("o2", 1))
        assert process.site.broker.ids() == answers("o2", 1)
        process.site.clock.advance(2)
        await process.relay.publish_once()
        await published(process, *answers("o1", 2))
        assert process.site.broker.ids() == answers("o2", 1) + answers("o1", 1, 2)

    async def test_takes_along_what_waits_behind_it_in_hand(self, process: Process) -> None:
        gate = process.site.broker.held["o1"] = asyncio.Event()
        process.site.broker.failing["o1"] = [PublishFailed("not taken")]
        await process.outgoing.start()
        await process.take(ask("o1", number=1))
        await process.take(ask("o1", number=2))
        gate.set()
        await until(lambda: not process.outgoing.in_hand)
        assert process.site.broker.ids() == []

    async def test_during_the_next_transaction_is_noticed_by_what_that_one_wrote(self, process: Process) -> None:
        """Schedule: a row is in hand while the next of its key is recorded, and fails before that is handed over."""
        gate = process.site.broker.held["o1"] = asyncio.Event()
        process.site.broker.refused.add("o1")
        await process.outgoing.start()
        await process.take(ask("o1", number=1))
        loop = asyncio.get_running_loop()

        def fail_meanwhile(statement: str) -> bool:
            if statement.startswith("UPDATE consumed_offsets"):
                loop.call_soon_threadsafe(gate.set)
                assert wait_in_thread(lambda: not process.outgoing.in_hand)
                process.site.broker.refused.clear()
            return False

        process.faults.on = fail_meanwhile
        await process.take(ask("o1", number=2), ask("o2"))
        await published(process, *answers("o2", 1))
        assert process.site.broker.ids() == answers("o2", 1)
        assert set(process.outgoing.in_hand) & set(answers("o1", 1, 2)) == set(answers("o1", 2))

    async def test_is_shown_until_the_next_success(self, process: Process) -> None:
        process.site.broker.refused.add("o1")
        await process.outgoing.start()
        await process.take(ask("o1"))
        await until(lambda: process.outgoing.failing_since is not None)
        await process.take(ask("o2"))
        await until(lambda: process.outgoing.failing_since is None)

    async def test_of_a_kind_that_nobody_thought_of_ends_nothing(self, process: Process) -> None:
        process.site.broker.failing["o1"] = [RuntimeError("unheard of")]
        await process.outgoing.start()
        await process.take(ask("o1"))
        await until(lambda: not process.outgoing.in_hand)
        await process.take(ask("o2"))
        await published(process, *answers("o2", 1))


class TestStopping:
    async def test_publishes_and_marks_what_is_in_hand(self, process: Process) -> None:
        process.outgoing._mark_after = 1000
        gate = process.site.broker.held["o1"] = asyncio.Event()
        await process.outgoing.start()
        await process.take(ask("o1"))
        stopping = asyncio.create_task(process.outgoing.stop())
        await until(lambda: process.site.broker.attempted)
        gate.set()
        await stopping
        assert column(process.rows(outbox), "published_at") == [process.site.clock.now()]

    async def test_waits_no_longer_than_it_has_patience(self, process: Process) -> None:
        process.site.broker.held["o1"] = asyncio.Event()
        await process.outgoing.start()
        await process.take(ask("o1"))
        await process.outgoing.stop(patience=0.01)
        assert column(process.rows(outbox), "published_at") == [None]


async def test_a_message_that_was_taken_but_not_acknowledged_comes_twice_and_is_never_lost(site: Site) -> None:
    process = await site.joined()
    site.broker.unacknowledged.add("o1")
    await process.outgoing.start()
    await process.take(ask("o1"))
    await until(lambda: not process.outgoing.in_hand)
    assert column(process.rows(outbox), "published_at") == [None]
    site.broker.unacknowledged.clear()
    site.clock.advance(2)
    await process.relay.publish_once()
    assert site.broker.ids() == answers("o1", 1, 1)
