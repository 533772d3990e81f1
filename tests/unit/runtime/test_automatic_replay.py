"""Letters whose cause passes by itself are replayed by policy, a bounded number of times; the rest is left."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.process import Process, Site, column, remove_revision
from harness.tally import TALLY, ask, decide, due, undo
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime.automatic_replay import AutomaticReplay
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.letter_policy import DeadLetterRules, ReplayPolicy, wait_before
from orderflow.runtime.schema import audit_trail, dead_letters, letter_requests

REFUSED = ReplayPolicy(cause="refused", attempts=3, first_wait_seconds=5, longest_wait_seconds=12)
RULES = DeadLetterRules(automatic=(REFUSED,))


def automatic(process: Process, rules: DeadLetterRules = RULES) -> AutomaticReplay:
    return AutomaticReplay(process.unit, rules)


policies = st.builds(
    ReplayPolicy,
    cause=st.just("refused"),
    attempts=st.integers(1, 20),
    first_wait_seconds=st.floats(0.1, 3600),
    longest_wait_seconds=st.floats(0.1, 86_400),
)


class TestWaiting:
    @given(policies, st.integers(0, 20))
    def test_grows_up_to_its_bound_and_never_shrinks(self, policy: ReplayPolicy, failed: int) -> None:
        wait, next_wait = wait_before(policy, failed), wait_before(policy, failed + 1)
        assert timedelta(0) < wait <= next_wait <= timedelta(seconds=policy.longest_wait_seconds)

    def test_doubles(self) -> None:
        policy = ReplayPolicy(cause="refused", first_wait_seconds=5)
        assert [wait_before(policy, failed).total_seconds() for failed in range(7)] == [5, 10, 20, 40, 80, 160, 300]


class TestAPolicy:
    async def test_replays_with_backoff_until_its_attempts_are_used_up(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        policy = automatic(process)
        tried_at = []
        for second in range(60):
            if policy.ask_once():
                tried_at.append(second)
                await process.readmitting.look_once()
            site.clock.advance(1)
        assert tried_at == [5, 5 + 10, 5 + 10 + 12]
        (letter,) = process.rows(dead_letters)
        assert (letter["status"], letter["replays"]) == ("open", 3)

    async def test_puts_back_what_can_be_decided_by_then(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"), ask("o1", number=2))
        await process.leave()

        def mended(tally: Any, pots: Mapping[str, Any], message: Message) -> Decision[Any]:
            return decide(tally, pots, due(message.order_id))

        process = await site.joined("inventory-0/b", context=replace(TALLY, decide=mended))
        site.clock.advance(5)
        assert automatic(process).ask_once() == 1
        await process.readmitting.look_once()
        assert column(process.rows(dead_letters), "status") == ["replayed"]

    async def test_leaves_other_causes_to_people(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"), ask("o2", "refuse"))
        site.clock.advance(60)
        assert automatic(process).ask_once() == 1
        assert column(process.rows(letter_requests), "letter_id") == [2]

    async def test_acts_in_its_own_name(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        site.clock.advance(5)
        automatic(process).ask_once()
        await process.readmitting.look_once()
        acts = [row for row in process.rows(audit_trail) if row["actor"]]
        assert column(acts, "actor") == ["orderflow", "orderflow"]
        assert acts[0]["detail"] == "policy for refused, attempt 1 of 3"
        labels = {"action": "replay", "cause": "refused", "outcome": "failed", "by": "policy"}
        assert process.metric("orderflow_dead_letter_requests_total", **labels) == 1

    async def test_asks_once_for_what_is_asked_for_already(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        site.clock.advance(5)
        policy = automatic(process)
        assert (policy.ask_once(), policy.ask_once()) == (1, 0)

    async def test_keeps_the_quarantine(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        site.clock.advance(60)
        with process.engine.begin() as connection:
            connection.execute(dead_letters.update().values(replays=2))
        assert automatic(process, DeadLetterRules(automatic=(REFUSED,), quarantine_after=2)).ask_once() == 0

    async def test_passes_over_what_waits_behind_another_letter(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "break"))
        site.broker.put(b"{", topic="inventory-commands", key="o1")
        await process.fetch()
        site.clock.advance(60)
        undecodable = ReplayPolicy(cause="undecodable")
        assert automatic(process, DeadLetterRules(automatic=(undecodable,))).ask_once() == 0

    async def test_but_not_over_a_compensation(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"), undo("o1", reason="break"))
        site.clock.advance(60)
        failed = ReplayPolicy(cause="decide-failed")
        assert automatic(process, DeadLetterRules(automatic=(failed,))).ask_once() == 1

    async def test_is_not_followed_by_a_revision_that_was_removed(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        site.clock.advance(60)
        remove_revision(process)
        with pytest.raises(RevisionRemoved):
            automatic(process).ask_once()

    async def test_is_needed_for_anything_to_be_asked(self, site: Site) -> None:
        process = await site.joined()
        await process.take(ask("o1", "refuse"))
        site.clock.advance(60)
        assert automatic(process, DeadLetterRules(automatic=())).ask_once() == 0


async def test_the_holder_of_the_anchor_alone_follows_the_policies(site: Site) -> None:
    holder = await site.joined()
    other = site.process("inventory-1/x")
    await holder.take(ask("o1", "violate"))
    site.clock.advance(60)
    assert await other.readmitting.follow_policies_if_anchor() == 0
    assert await holder.readmitting.follow_policies_if_anchor() == 1
