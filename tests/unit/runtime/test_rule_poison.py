"""A message that kills the process: after an unclean stop one by one, the attempt first; the third start buries it.

A message that processes only happen to be killed over is never buried.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.process import Killed, Process, Site, by, column
from harness.tally import TALLY, ask, decide
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime import attempts, processor
from orderflow.runtime.context import Context
from orderflow.runtime.incoming import read
from orderflow.runtime.schema import consumed_offsets, dead_letters, message_attempts, processed_events

COMMANDS = ("inventory-commands", 0)


def deadly(order: str, on_decide: Callable[[Message], None] = lambda _message: None) -> Context[Any]:
    """The small context; a decision about ``order`` ends the process."""

    def decide_or_die(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
        on_decide(message)
        if message.order_id == order:
            raise Killed
        return decide(state, visible, message)

    return replace(TALLY, decide=decide_or_die)


async def lives(site: Site, number: int, context: Context[Any], *, last: bool = True) -> Process:
    """Start processes one after another until one has lived through, or ``number`` have been killed."""
    for _ in range(number):
        process = await site.joined(f"inventory-0/{site.lives}", context=context)
        try:
            await process.fetch_all()
        except Killed:
            await process.kill()
        else:
            assert last
            return process
    assert not last
    return process


def statuses(process: Process) -> dict[str, str]:
    return {row["event_id"]: row["status"] for row in process.rows(processed_events)}


async def test_the_third_start_of_it_dead_letters_it(site: Site) -> None:
    """The first death is in a batch, and nobody knows of which message; of the second it is known; the third is a
    rehearsal's."""
    for order in ("o1", "poison", "o2"):
        site.broker.put(ask(order))
    assert [await attempts_after_a_life(site) for _ in range(2)] == [None, 1]
    process = await lives(site, 1, deadly("poison"))
    (letter,) = process.rows(dead_letters)
    assert (letter["event_id"], letter["cause"]) == ("ask-poison-1", "kills-the-process")
    assert "rehearsal" in letter["reason"]


async def attempts_after_a_life(site: Site) -> int | None:
    process = await lives(site, 1, deadly("poison"), last=False)
    found = by(process.rows(message_attempts), "offset").get(1)
    return None if found is None else found["attempts"]


async def test_a_message_over_which_processes_were_killed_by_chance_is_decided(site: Site) -> None:
    site.broker.put(ask("o1"))
    await die_over_it(site, 4)
    process = await lives(site, 1, TALLY)
    assert process.seen("o1") == ("ask-o1-1",)
    assert process.rows(dead_letters) == []


async def test_but_what_kills_while_it_is_written_is_given_up_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rehearsal sees that."""
    assert attempts.UNWITNESSED == 10
    monkeypatch.setattr(attempts, "UNWITNESSED", 3)
    site.broker.put(ask("o1"))
    await die_over_it(site, 1 + 3)
    process = await lives(site, 1, TALLY)
    (letter,) = process.rows(dead_letters)
    assert letter["reason"] == "3 processes ended while they were deciding it"


async def die_over_it(site: Site, times: int) -> None:
    """Start so many processes that are killed between the decision about a message and its commit."""
    for _ in range(times):
        process = await site.joined(f"inventory-0/{site.lives}")
        process.faults.on = killed_when_writing
        with pytest.raises(Killed):
            await process.fetch_all()
        await process.kill()


def killed_when_writing(statement: str) -> bool:
    if statement.startswith("INSERT INTO tallies"):
        raise Killed
    return False


async def test_a_rehearsal_leaves_no_trace(site: Site) -> None:
    site.broker.put(ask("o1", "call timer"))
    await die_over_it(site, 2)
    process = await site.joined("inventory-0/again")
    before = process.everything()
    (record,) = site.broker.records(COMMANDS, 0)
    assert process.unit.rehearse(read(record)) == ""
    assert process.everything() == before
    assert site.provider.asked == []


async def test_only_that_message_dies_and_the_partition_goes_on(site: Site) -> None:
    for order in ("o1", "poison", "o2", "poison", "o3"):
        site.broker.put(ask(order, number=len(site.broker.records(COMMANDS, 0))))
    process = await lives(site, 5, deadly("poison"))
    assert statuses(process) == {
        "ask-o1-0": "applied",
        "ask-poison-1": "dead",
        "ask-o2-2": "applied",
        "ask-poison-3": "parked",
        "ask-o3-4": "applied",
    }
    assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["offset"] == 4


async def test_after_an_unclean_stop_messages_run_one_by_one(site: Site) -> None:
    for number in range(3):
        site.broker.put(ask("o1", number=number))
    site.broker.put(ask("poison"))
    await lives(site, 1, deadly("poison"), last=False)
    process = await site.joined("inventory-0/again")
    await process.fetch()
    assert process.metric("orderflow_batch_size_count") == 4
    assert process.metric("orderflow_batch_size_sum") == 4


async def test_in_a_batch_nothing_is_recorded_of_what_came_with_it(site: Site) -> None:
    site.broker.put(ask("o1"))
    site.broker.put(ask("poison"))
    process = await lives(site, 1, deadly("poison"), last=False)
    assert process.rows(processed_events) == []


async def test_the_attempt_is_recorded_before_the_decision(site: Site) -> None:
    seen: list[list[int]] = []

    def note(_message: Message) -> None:
        seen.append(column(observer.rows(message_attempts), "offset"))

    observer = site.process("observer/1")
    site.broker.put(ask("o1"))
    site.broker.put(ask("poison"))
    await lives(site, 1, deadly("poison"), last=False)
    await lives(site, 1, deadly("poison", note), last=False)
    assert seen == [[0], [1]]


async def test_after_a_clean_stop_messages_run_in_batches_again(site: Site) -> None:
    process = await site.joined()
    await process.leave()
    successor = await site.joined("inventory-1/b")
    await successor.take(ask("o1"), ask("o2"))
    assert successor.metric("orderflow_batch_size_count") == 1
    assert successor.rows(message_attempts) == []


async def test_the_care_ends_with_what_the_lost_batch_can_have_held(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "BATCH", 2)
    site.broker.put(ask("poison"))
    await lives(site, 1, deadly("poison"), last=False)
    for number in range(6):
        site.broker.put(ask("o1", number=number))
    process = await site.joined("inventory-0/again")
    assert process.processor.positions[COMMANDS].careful_until == 1
    await process.fetch()
    assert process.metric("orderflow_batch_size_count") == 2 + 3
    assert process.seen("o1") == tuple(f"ask-o1-{number}" for number in range(6))


async def test_what_comes_after_the_takeover_is_not_suspected(site: Site) -> None:
    site.broker.put(ask("poison"))
    await lives(site, 1, deadly("poison"), last=False)
    process = await site.joined("inventory-0/again")
    await process.fetch()
    await process.take(ask("o1"), ask("o2"))
    assert process.metric("orderflow_batch_size_count") == 2


async def test_a_message_is_not_blamed_for_the_infrastructures_failures(site: Site) -> None:
    """Schedule: in careful mode the attempt is recorded, and then the database fails; again and again."""
    site.broker.put(ask("o1"))
    await lives(site, 1, deadly("o1"), last=False)
    process = await site.joined("inventory-0/again")
    failures = 5

    def fail(statement: str) -> bool:
        nonlocal failures
        failing = failures > 0 and statement.startswith("INSERT INTO tallies")
        failures -= failing
        return failing

    process.faults.on = fail
    for _ in range(6):
        await process.fetch()
        await process.settled_down()
    assert process.seen("o1") == ("ask-o1-1",)
    assert process.rows(dead_letters) == []
    assert failures == 0


async def test_attempts_are_forgotten_when_they_have_served_their_purpose(site: Site) -> None:
    for number in range(4):
        site.broker.put(ask("o1", number=number))
    site.broker.put(ask("poison"))
    await lives(site, 1, deadly("poison"), last=False)
    process = await lives(site, 4, deadly("poison"))
    assert column(process.rows(message_attempts), "offset") == [4]


async def test_a_topic_that_is_started_over_begins_without_attempts(site: Site) -> None:
    """Schedule: offset 0 of the old topic was poison; the new topic has another message there."""
    site.broker.put(ask("poison"))
    process = await lives(site, 4, deadly("poison"))
    await process.kill()
    site.broker.recreate(COMMANDS)
    site.broker.put(ask("o1"))
    successor = await site.joined("inventory-0/again")
    await successor.fetch_all()
    assert successor.seen("o1") == ("ask-o1-1",)
    assert len(successor.rows(dead_letters)) == 1


async def test_a_process_that_an_error_has_ended_counts_as_an_unclean_stop(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_rows: object) -> None:
        raise RuntimeError("a fault of the runtime's own")

    monkeypatch.setattr(process.cache, "show", break_down)
    with pytest.raises(RuntimeError):
        await process.take(ask("o1"))
    await process.processor.revoked([COMMANDS, ("order-events", 0)])
    assert column(process.rows(consumed_offsets), "owner") == ["inventory-0/a", "inventory-0/a"]
