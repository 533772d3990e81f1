"""Dead letters, grouped by what ails them."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from harness.tally import NOON
from orderflow.oncall.letters import Found, grouped
from orderflow.oncall.replaying import Wish, rehearse
from orderflow.runtime.acts import Behalf


def letter(number: int = 1, **fields: object) -> Found:
    known: dict[str, object] = {
        "name": f"payment/{number}",
        "context": "payment",
        "id": number,
        "status": "open",
        "cause": "refused",
        "reason": "",
        "event_type": "RefundPayment",
        "event_id": f"e{number}",
        "key": "o1",
        "topic": "payment-commands",
        "partition": 0,
        "offset": number,
        "revision": "r1",
        "created_at": NOON + timedelta(seconds=number),
    }
    return Found(**{**known, **fields})  # type: ignore[arg-type]


letters = st.lists(
    st.builds(
        letter,
        st.integers(1, 1000),
        context=st.sampled_from(["order", "payment"]),
        cause=st.sampled_from(["refused", "decide-failed"]),
        stack_hash=st.sampled_from([None, "a", "b"]),
        key=st.sampled_from(["o1", "o2"]),
        replays=st.integers(0, 6),
    )
)


class TestGroups:
    @given(letters)
    def test_hold_every_letter_once(self, found: list[Found]) -> None:
        groups = grouped(found, 3)
        assert sum(group.letters for group in groups) == len(found)
        assert sum(group.quarantined for group in groups) == sum(one.replays >= 3 for one in found)
        ailments = [(group.context, group.cause, group.stack_hash) for group in groups]
        assert len(set(ailments)) == len(ailments)

    @given(letters)
    def test_do_not_depend_on_the_order_of_the_letters(self, found: list[Found]) -> None:
        assert [g.letters for g in grouped(found, 3)] == [g.letters for g in grouped(found[::-1], 3)]

    def test_begin_with_the_largest_of_a_context(self) -> None:
        found = [letter(1), letter(2, cause="conflict"), letter(3, cause="conflict")]
        assert [(group.cause, group.letters) for group in grouped(found, 3)] == [("conflict", 2), ("refused", 1)]

    def test_count_what_waits_behind_an_order_once(self) -> None:
        found = [letter(1, parked=2), letter(2, parked=2), letter(3, key="o2", parked=1)]
        (group,) = grouped(found, 3)
        assert (group.parked, group.orders, group.example) == (3, 2, "payment/3")


class TestARehearsal:
    def outcomes(self, *found: Found, action: str = "replay", forced: bool = False) -> list[str]:
        wish = Wish(action=action, behalf=Behalf("ada", ""), quarantine_after=3, forced=forced)  # type: ignore[arg-type]
        return [fate.outcome for fate in rehearse(wish, found)]

    def test_says_what_would_be_done(self) -> None:
        assert self.outcomes(letter()) == ["to be replayed"]
        assert self.outcomes(letter(), action="discard") == ["to be discarded"]
        assert self.outcomes(letter(status="superseded")) == ["not open"]

    def test_keeps_the_quarantine_unless_it_is_forced(self) -> None:
        assert self.outcomes(letter(replays=3)) == ["quarantined"]
        assert self.outcomes(letter(replays=3), forced=True) == ["to be replayed"]
        assert self.outcomes(letter(replays=3), action="discard") == ["to be discarded"]
