"""The relay publishes unpublished rows older than a second, in order, and stops a key at a failure."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from harness.process import Process, Site, by, column, until
from harness.tally import ask, reserved
from orderflow.runtime import outgoing, relay
from orderflow.runtime.schema import outbox


def answers(order: str, *numbers: int) -> list[str]:
    return [reserved(ask(order, number=number)) for number in numbers]


@pytest.fixture
async def relaying(site: Site) -> Process:
    """The process that holds the anchor. What the other one, now dead, wrote is in nobody's hand."""
    return site.process("inventory-1/relay")


async def written(site: Site, *messages: tuple[str, int]) -> None:
    """Have a process record an answer for each (order, number), and die before it publishes."""
    process = await site.joined()
    await process.take(*(ask(order, number=number) for order, number in messages))


async def test_a_row_that_is_not_older_than_a_second_is_left_to_whoever_wrote_it(site: Site, relaying: Process) -> None:
    await written(site, ("o1", 1))
    site.clock.advance(1)
    assert await relaying.relay.publish_once() == 0
    site.clock.advance(0.001)
    assert await relaying.relay.publish_once() == 1
    assert site.broker.ids() == answers("o1", 1)


async def test_rows_go_out_in_their_order_with_all_they_were_recorded_with(site: Site, relaying: Process) -> None:
    await written(site, *(("o1", number) for number in range(1, 6)))
    site.clock.advance(2)
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o1", 1, 2, 3, 4, 5)
    row = by(relaying.rows(outbox), "event_id")[answers("o1", 1)[0]]
    published = site.broker.published[0]
    assert (published.payload, published.topic, published.key) == (row["payload"], "inventory-events", "o1")
    assert published.headers["ce_id"] == published.event_id


async def test_a_row_of_a_clock_that_is_ahead_is_not_overtaken_under_its_key(site: Site, relaying: Process) -> None:
    """Schedule: a process whose clock is five seconds ahead dies before it publishes; another one writes the next."""
    site.clock.advance(5)
    await written(site, ("o1", 1))
    site.clock.advance(-5)
    await (await site.joined("inventory-0/b")).take(ask("o1", number=2), ask("o2", number=1))
    site.clock.advance(2)
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1)
    site.clock.advance(5)
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1) + answers("o1", 1, 2)


async def test_a_row_from_the_far_future_is_not_waited_for(site: Site, relaying: Process) -> None:
    site.clock.advance(3600)
    await written(site, ("o1", 1))
    site.clock.advance(-3600)
    assert await relaying.relay.publish_once() == 1


async def test_a_published_row_is_not_published_again(site: Site, relaying: Process) -> None:
    await written(site, ("o1", 1))
    site.clock.advance(2)
    assert [await relaying.relay.publish_once() for _ in range(2)] == [1, 0]
    assert column(relaying.rows(outbox), "published_at") == [site.clock.now()]


async def test_a_key_stops_at_a_failure_and_the_others_go_on(site: Site, relaying: Process) -> None:
    await written(site, ("o1", 1), ("o2", 1), ("o1", 2), ("o2", 2))
    site.clock.advance(2)
    site.broker.refused.add("o1")
    assert await relaying.relay.publish_once() == 2
    assert site.broker.ids() == answers("o2", 1, 2)
    site.broker.refused.clear()
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1, 2) + answers("o1", 1, 2)


async def test_a_stopped_key_stays_stopped_for_the_whole_look(
    site: Site, relaying: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedule: the broker takes the key's messages again while the relay reads on."""
    monkeypatch.setattr(relay, "AT_ONCE", 2)
    await written(site, ("o1", 1), ("o2", 1), ("o1", 2), ("o3", 1))
    site.clock.advance(2)
    site.broker.refused.add("o1")
    gate = site.broker.held["o2"] = asyncio.Event()
    look = asyncio.create_task(relaying.relay.publish_once())
    await until(lambda: {*answers("o1", 1), *answers("o2", 1)} <= set(site.broker.attempted))
    site.broker.refused.clear()
    gate.set()
    await look
    assert answers("o1", 2)[0] not in site.broker.ids()
    assert set(site.broker.ids()) == {*answers("o2", 1), *answers("o3", 1)}


async def test_however_many_rows_are_stopped_the_others_go_on(
    site: Site, relaying: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "AT_ONCE", 2)
    await written(site, *(("o1", number) for number in range(1, 6)), ("o2", 1))
    site.clock.advance(2)
    site.broker.refused.add("o1")
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1)


async def test_a_row_is_marked_only_after_the_acknowledgement(site: Site, relaying: Process) -> None:
    await written(site, ("o1", 1))
    site.clock.advance(2)
    gate = site.broker.held["o1"] = asyncio.Event()
    look = asyncio.create_task(relaying.relay.publish_once())
    await until(lambda: site.broker.attempted)
    assert column(relaying.rows(outbox), "published_at") == [None]
    gate.set()
    assert await look == 1
    assert column(relaying.rows(outbox), "published_at") == [site.clock.now()]


async def test_a_row_is_marked_within_a_second_of_it_whatever_others_wait_for(
    site: Site, relaying: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relay.MARK_AFTER < 1
    monkeypatch.setattr(relay, "MARK_AFTER", 0.001)
    await written(site, ("o1", 1), ("o2", 1))
    site.clock.advance(2)
    gate = site.broker.held["o1"] = asyncio.Event()
    look = asyncio.create_task(relaying.relay.publish_once())
    await until(lambda: None not in [row["published_at"] for row in relaying.rows(outbox) if row["key"] == "o2"])
    assert not look.done()
    gate.set()
    assert await look == 2


async def test_what_was_taken_without_acknowledgement_comes_twice_and_is_never_lost(
    site: Site, relaying: Process
) -> None:
    await written(site, ("o1", 1), ("o1", 2))
    site.clock.advance(2)
    site.broker.unacknowledged.add("o1")
    assert await relaying.relay.publish_once() == 0
    site.broker.unacknowledged.clear()
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o1", 1, 1, 2)


async def test_what_a_killed_relay_did_not_mark_the_next_one_publishes(site: Site, relaying: Process) -> None:
    await written(site, ("o1", 1))
    site.clock.advance(2)
    relaying.faults.on_commit = "before"
    with pytest.raises(OperationalError):
        await relaying.relay.publish_once()
    successor = site.process("inventory-2/relay")
    assert await successor.relay.publish_once() == 1
    assert site.broker.ids() == answers("o1", 1, 1)


async def test_a_failure_that_nobody_thought_of_stops_its_key_alone(
    site: Site, relaying: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "AT_ONCE", 2)
    await written(site, ("o1", 1), ("o2", 1), ("o1", 2))
    site.clock.advance(2)
    site.broker.failing["o1"] = [RuntimeError("unheard of")]
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1)
    await relaying.relay.publish_once()
    assert site.broker.ids() == answers("o2", 1) + answers("o1", 1, 2)


class TestTheFastPathOfTheSameProcess:
    async def test_keeps_what_it_has_in_hand(self, site: Site) -> None:
        process = await site.joined()
        gate = site.broker.held["o1"] = asyncio.Event()
        await process.outgoing.start()
        await process.take(ask("o1"))
        site.clock.advance(2)
        assert await process.relay.publish_once() == 0
        gate.set()
        await until(lambda: not process.outgoing.in_hand)
        assert site.broker.ids() == answers("o1", 1)

    async def test_is_helped_out_with_what_goes_before_it(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """Schedule: a row was left behind, and its key goes on getting new ones, faster than the relay looks."""
        monkeypatch.setattr(outgoing, "PATIENCE", timedelta(hours=1))
        await written(site, ("o1", 1))
        process = await site.joined("inventory-1/b")
        await process.outgoing.start()
        await process.take(ask("o1", number=2))
        site.clock.advance(2)
        await process.take(ask("o1", number=3))
        assert set(answers("o1", 2, 3)) <= set(process.outgoing.in_hand)
        assert await process.relay.publish_once() == 1
        await until(lambda: len(site.broker.ids()) == 3)
        assert site.broker.ids() == answers("o1", 1, 2, 3)
