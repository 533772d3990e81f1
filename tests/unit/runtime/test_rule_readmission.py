"""A dead letter is put back in its order, or let go, by the owner of its partition; what waited behind it follows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from harness.process import Killed, Process, Site, by, column
from harness.tally import NOON, REPLIES, TALLY, ask, decide, due, reply, undo
from orderflow.contracts import codec
from orderflow.contracts.commands import OrderInventoryRequested
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime import letters
from orderflow.runtime.acts import Behalf
from orderflow.runtime.letters import Action, Answer
from orderflow.runtime.schema import (
    audit_trail,
    consumed_offsets,
    dead_letters,
    letter_requests,
    outbox,
    processed_events,
    tasks,
)

COMMANDS = "inventory-commands"
ADA = Behalf("ada", "the code is mended")
QUARANTINE = 3


def mended(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
    """The small context's decision without its faults."""
    if isinstance(message, OrderInventoryRequested):
        words = [word for word in message.request_id.split() if word not in {"break", "refuse", "violate"}]
        message = msgspec.structs.replace(message, request_id=" ".join(words))
    return decide(state, visible, message)


MENDED = replace(TALLY, decide=mended)


def wanted(
    process: Process, letter_id: int, action: Action = "replay", *, behalf: Behalf = ADA, forced: bool = False
) -> Answer:
    now = process.site.clock.now()
    with process.engine.begin() as connection:
        return letters.ask(
            connection, letter_id, action, behalf, due_at=now, now=now, quarantine_after=QUARANTINE, forced=forced
        )


def statuses(process: Process) -> dict[str, str]:
    return {row["event_id"]: row["status"] for row in process.rows(processed_events)}


def states_of_letters(process: Process) -> list[str]:
    return column(process.rows(dead_letters), "status")


def acts(process: Process) -> list[tuple[str, str, str]]:
    return [(row["actor"], row["before"], row["after"]) for row in process.rows(audit_trail) if row["actor"]]


async def stopped(site: Site) -> Process:
    """A process whose code cannot decide the first message of an order; two more wait behind it."""
    process = await site.joined()
    await process.take(ask("o1", "break"))
    await process.take(ask("o1", number=2), ask("o2"))
    await process.take(reply("o1"))
    return process


async def after_a_fix(site: Site) -> Process:
    """The same order, and a process with mended code in the place of the other."""
    await (await stopped(site)).leave()
    return await site.joined("inventory-0/b", context=MENDED)


class TestReplay:
    async def test_decides_the_letter_and_then_what_was_parked_behind_it_in_its_order(self, site: Site) -> None:
        process = await after_a_fix(site)
        assert wanted(process, 1) == "asked"
        await process.readmitting.look_once()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2", "reply-o1")
        assert set(statuses(process).values()) == {"applied"}
        assert states_of_letters(process) == ["replayed"]

    async def test_leaves_nothing_of_the_request_and_no_bytes_behind(self, site: Site) -> None:
        process = await after_a_fix(site)
        wanted(process, 1)
        await process.readmitting.look_once()
        assert process.rows(letter_requests) == []
        assert set(column(process.rows(processed_events), "raw")) == {None}

    async def test_sends_and_calls_what_the_decisions_ask_for(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break call"))
        await process.leave()
        process = await site.joined("inventory-0/b", context=MENDED)
        wanted(process, 1)
        await process.readmitting.look_once()
        await process.publish()
        await process.settle()
        assert site.provider.asked == [("call", "key-o1")]
        assert column(process.rows(tasks), "status") == ["done"]

    async def test_does_not_move_the_ledger(self, site: Site) -> None:
        process = await after_a_fix(site)
        before = process.rows(consumed_offsets)
        wanted(process, 1)
        await process.readmitting.look_once()
        assert process.rows(consumed_offsets) == before

    async def test_of_what_fails_again_leaves_all_as_it_was_and_counts(self, site: Site) -> None:
        process = await stopped(site)
        site.clock.advance(60)
        wanted(process, 1)
        await process.readmitting.look_once()
        (letter,) = process.rows(dead_letters)
        assert (letter["status"], letter["replays"], letter["tried_at"]) == ("open", 1, NOON + timedelta(seconds=60))
        assert statuses(process)["ask-o1-2"] == "parked"
        assert process.tally("o1") is None
        await process.take(ask("o1", number=3))
        assert statuses(process)["ask-o1-3"] == "parked"

    async def test_of_undecodable_bytes_after_a_fix_gives_them_their_messages_own_id(self, site: Site) -> None:
        """Their topic may be read from its start later: they are known under both."""
        process = await site.joined()
        site.broker.put(b"{", topic=COMMANDS, key="o1")
        await process.take(ask("o1", number=2))
        (letter,) = process.rows(dead_letters)
        fixed = codec.encode(ask("o1"))
        with process.engine.begin() as connection:
            # As if today's code read what yesterday's could not.
            connection.execute(dead_letters.update().values(raw=fixed))
        wanted(process, 1)
        await process.readmitting.look_once()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert statuses(process) == {"ask-o1-1": "applied", "ask-o1-2": "applied", letter["event_id"]: "replayed"}

    async def test_of_a_type_that_means_nothing_here_passes_it_by(self, site: Site) -> None:
        unknowing = replace(TALLY, takes={COMMANDS: TALLY.takes[COMMANDS], REPLIES: frozenset()})
        process = await site.joined()
        await process.take(ask("o1", "break"))
        with process.engine.begin() as connection:
            connection.execute(dead_letters.update().values(topic=REPLIES))
        await process.leave()
        process = await site.joined("inventory-0/b", context=unknowing)
        wanted(process, 1)
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["replayed"]
        assert statuses(process) == {"ask-o1-1": "passed-by"}

    async def test_of_a_conflict_stays_a_conflict(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1"))
        await process.take(ask("o1", "look"))
        wanted(process, 1)
        await process.readmitting.look_once()
        (letter,) = process.rows(dead_letters)
        assert (letter["status"], letter["cause"], letter["replays"]) == ("open", "conflict", 1)
        assert statuses(process) == {"ask-o1-1": "applied"}

    async def test_stops_at_the_first_that_cannot_be_decided_which_takes_the_letters_place(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"))
        await process.take(ask("o1", number=2), ask("o1", "crash", number=3), ask("o1", number=4))
        await process.leave()
        process = await site.joined("inventory-0/b", context=MENDED)
        wanted(process, 1)
        await process.readmitting.look_once()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert states_of_letters(process) == ["replayed", "open"]
        assert statuses(process)["ask-o1-3"] == "dead"
        assert statuses(process)["ask-o1-4"] == "parked"
        copies = [row for row in process.rows(outbox) if row["event_type"] == "DeadLetter"]
        assert len(copies) == 2

    async def test_is_not_carried_out_before_it_is_due(self, site: Site) -> None:
        process = await after_a_fix(site)
        now = site.clock.now()
        with process.engine.begin() as connection:
            later = now + timedelta(seconds=10)
            letters.ask(connection, 1, "replay", ADA, due_at=later, now=now, quarantine_after=3)
        assert await process.readmitting.look_once() == 0
        site.clock.advance(10)
        assert await process.readmitting.look_once() == 1

    async def test_decides_on_what_the_table_holds_only_if_that_is_current(self, site: Site) -> None:
        process = await after_a_fix(site)
        wanted(process, 1)
        await process.readmitting.look_once()
        await process.take(ask("o1", number=5))
        assert process.seen("o1")[-1] == "ask-o1-5"


class TestOrder:
    async def test_a_letter_waits_for_an_earlier_one_of_its_order(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"))
        await process.take(due("o1"))
        with process.engine.begin() as connection:
            row = {**process.rows(dead_letters)[0], "id": 2, "event_id": "ask-o1-9", "offset": 9}
            connection.execute(dead_letters.insert().values(row))
        wanted(process, 2)
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["open", "open"]
        assert column(process.rows(dead_letters), "replays") == [0, 0]
        assert acts(process)[-1] == ("ada", "replay asked for", "open")

    async def test_nothing_follows_while_another_letter_of_the_order_is_open(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"), ask("o1", number=2), undo("o1", reason="break"))
        await process.leave()

        def kind(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
            return mended(state, visible, message)

        process = await site.joined("inventory-0/b", context=replace(TALLY, decide=kind))
        wanted(process, 1)
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["replayed", "open"]
        assert process.seen("o1") == ("ask-o1-1",)

    async def test_a_compensation_goes_before_and_supersedes_what_it_undoes(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"), ask("o1", number=2), undo("o1", reason="break"))
        await process.leave()

        def patient(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
            return decide(state, visible, undo(message.order_id) if message.event_id.startswith("undo") else message)

        process = await site.joined("inventory-0/b", context=replace(TALLY, decide=patient))
        wanted(process, 2)
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["superseded", "replayed"]
        assert statuses(process)["ask-o1-2"] == "superseded"

    async def test_an_order_that_was_compensated_meanwhile_is_left_so(self, site: Site) -> None:
        process = await stopped(site)
        wanted(process, 1)
        await process.take(undo("o1"))
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["superseded"]
        assert process.seen("o1") == ("undo-o1-1",)
        assert process.rows(letter_requests) == []
        assert acts(process)[-1] == ("ada", "replay asked for", "superseded")

    async def test_a_superseded_letter_is_not_asked_for(self, site: Site) -> None:
        process = await stopped(site)
        await process.take(undo("o1"))
        assert wanted(process, 1) == "not-open"

    async def test_left_behind_messages_take_the_place_of_a_letter_that_is_gone(self, site: Site) -> None:
        """Schedule: another process has closed the letter, and could not see what was being parked here."""
        process = await after_a_fix(site)
        with process.engine.begin() as connection:
            letters.close(connection, 1, letters.REPLAYED, NOON)
        await process.readmitting.look_once()
        assert by(process.rows(dead_letters), "id")[2]["cause"] == "left-behind"
        await process.readmitting.look_once()
        assert process.seen("o1") == ("ask-o1-2", "reply-o1")
        assert states_of_letters(process) == ["replayed", "replayed"]


class TestDiscard:
    async def test_lets_the_letter_go_and_what_was_behind_it_follow(self, site: Site) -> None:
        process = await stopped(site)
        wanted(process, 1, "discard")
        await process.readmitting.look_once()
        assert states_of_letters(process) == ["discarded"]
        assert statuses(process)["ask-o1-1"] == "discarded"
        assert process.seen("o1") == ("ask-o1-2", "reply-o1")

    async def test_is_for_ever(self, site: Site) -> None:
        process = await stopped(site)
        wanted(process, 1, "discard")
        await process.readmitting.look_once()
        await process.take(ask("o1", "break"))
        assert states_of_letters(process) == ["discarded"]
        assert wanted(process, 1) == "not-open"

    async def test_of_a_conflict_does_not_touch_the_message_that_has_the_id(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"))
        await process.take(ask("o1", "look"))
        assert states_of_letters(process) == ["open", "open"]
        wanted(process, 2, "discard")
        await process.readmitting.look_once()
        assert statuses(process) == {"ask-o1-1": "dead"}
        assert states_of_letters(process) == ["open", "discarded"]


class TestAsking:
    async def test_twice_at_once_is_once(self, site: Site) -> None:
        process = await after_a_fix(site)
        assert wanted(process, 1) == "asked"
        assert wanted(process, 1, "discard", behalf=Behalf("bob", "away with it")) == "asked-before"
        await process.readmitting.look_once()
        assert await process.readmitting.look_once() == 0
        assert process.seen("o1")[0] == "ask-o1-1"

    async def test_stands_in_the_audit_trail_with_who_when_what_and_why(self, site: Site) -> None:
        process = await after_a_fix(site)
        wanted(process, 1)
        await process.readmitting.look_once()
        assert acts(process) == [("ada", "open", "replay asked for"), ("ada", "replay asked for", "replayed")]
        last = [row for row in process.rows(audit_trail) if row["actor"]][-1]
        assert (last["key"], last["event_id"], last["step"]) == ("o1", "ask-o1-1", "dead-letter")
        assert last["detail"] == "the code is mended: applied; 2 behind it followed"
        assert last["recorded_at"] == site.clock.now()

    async def test_in_vain_too_often_ends_in_quarantine_out_of_which_only_force_leads(self, site: Site) -> None:
        process = await stopped(site)
        for _ in range(QUARANTINE):
            assert wanted(process, 1) == "asked"
            await process.readmitting.look_once()
        assert wanted(process, 1) == "quarantined"
        assert wanted(process, 1, forced=True) == "asked"

    async def test_for_a_discard_is_heard_in_quarantine(self, site: Site) -> None:
        process = await stopped(site)
        with process.engine.begin() as connection:
            connection.execute(dead_letters.update().values(replays=QUARANTINE))
        assert wanted(process, 1, "discard") == "asked"

    async def test_for_a_letter_that_is_not_there_is_answered(self, process: Process) -> None:
        assert wanted(process, 7) == "not-open"

    async def test_is_counted(self, site: Site) -> None:
        process = await after_a_fix(site)
        wanted(process, 1)
        await process.readmitting.look_once()
        labels = {"action": "replay", "cause": "decide-failed", "outcome": "replayed", "by": "person"}
        assert process.metric("orderflow_dead_letter_requests_total", **labels) == 1


class TestTheOwner:
    async def test_alone_carries_it_out(self, site: Site) -> None:
        process = await after_a_fix(site)
        other = site.process("inventory-1/x", context=MENDED)
        wanted(process, 1)
        assert await other.readmitting.look_once() == 0
        assert await process.readmitting.look_once() == 1

    async def test_that_was_replaced_does_nothing_and_gives_the_partition_up(self, site: Site) -> None:
        zombie = await after_a_fix(site)
        wanted(zombie, 1)
        successor = await site.joined("inventory-1/x", context=MENDED)
        await zombie.readmitting.look_once()
        assert zombie.tally("o1") is None
        assert (COMMANDS, 0) not in zombie.processor.positions
        await successor.readmitting.look_once()
        assert successor.seen("o1") == ("ask-o1-1", "ask-o1-2", "reply-o1")

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_whose_database_fails_at_the_commit_goes_on_when_it_is_back(self, site: Site, when: str) -> None:
        process = await after_a_fix(site)
        wanted(process, 1)
        with process.engine.begin() as connection:
            letters.begin(connection, 1)
        process.readmitting._begun[1] = 1
        process.faults.on_commit = when
        with pytest.raises(Exception, match="disk I/O error"):
            await process.readmitting.look_once()
        assert process.seen("o1") == (() if when == "before" else ("ask-o1-1", "ask-o1-2", "reply-o1"))
        await process.readmitting.look_once()
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2", "reply-o1")


class TestAMessageThatKillsItsProcess:
    def deadly(self, *ids: str) -> Any:
        def decide_or_die(state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
            if message.event_id in ids:
                raise Killed
            return mended(state, visible, message)

        return replace(TALLY, decide=decide_or_die)

    async def lives(self, site: Site, *ids: str) -> Process:
        """Start processes until one has lived through all that is asked; none takes more than eight."""
        for _ in range(8):
            process = await site.joined(f"inventory-0/{site.lives}", context=self.deadly(*ids))
            try:
                while await process.readmitting.look_once():
                    pass
            except Killed:
                await process.kill()
            else:
                return process
        raise AssertionError("it kills one process after another")

    async def test_while_it_is_replayed_is_given_up_at_the_third_start(self, site: Site) -> None:
        wanted(await stopped(site), 1)
        process = await self.lives(site, "ask-o1-1")
        (letter,) = process.rows(dead_letters)
        assert (letter["status"], letter["cause"], letter["replays"]) == ("open", "kills-the-process", 1)
        assert site.lives == 1 + 3
        assert statuses(process)["ask-o1-2"] == "parked"

    @pytest.mark.parametrize("action", ["replay", "discard"])
    async def test_while_it_follows_a_letter_becomes_one_and_what_is_before_it_is_done(
        self, site: Site, action: Action
    ) -> None:
        process = await stopped(site)
        site.clock.advance(1)
        await process.take(ask("o1", number=4))
        wanted(process, 1, action)
        process = await self.lives(site, "reply-o1")
        done = ("ask-o1-2",) if action == "discard" else ("ask-o1-1", "ask-o1-2")
        assert process.seen("o1") == done
        last = process.rows(dead_letters)[-1]
        assert (last["event_id"], last["cause"]) == ("reply-o1", "kills-the-process")
        assert statuses(process)["ask-o1-4"] == "parked"
