import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from orderflow.runtime.policy import OPEN_SECONDS, OPENS_AFTER, Breaker, Permit, State, backoff


class TestBackoff:
    def test_three_quick_repetitions_and_then_one_every_half_minute(self) -> None:
        assert [backoff(failures) for failures in range(1, 7)] == [0.2, 0.4, 0.8, 30, 30, 30]

    @pytest.mark.parametrize("failures", [0, -1])
    def test_it_follows_a_failure(self, failures: int) -> None:
        with pytest.raises(ValueError, match="follows a failure"):
            backoff(failures)


def admitted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def state_of(breaker: Breaker) -> State:
    """Return the state as it is now: a type checker takes what was asserted of a property to last."""
    return breaker.state


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(admitted(breaker, at), at)
    return breaker


class TestBreaker:
    def test_it_is_closed_at_first(self) -> None:
        breaker = Breaker()
        assert breaker.state == "closed"
        assert breaker.wait(0) == 0

    def test_it_opens_after_five_failures_in_a_row(self) -> None:
        breaker = Breaker()
        for number in range(1, 6):
            assert breaker.state == "closed", f"after {number - 1} failures"
            breaker.failed(admitted(breaker, 0), 0)
        assert breaker.state == "open"
        assert breaker.admit(0) is None

    def test_an_answer_ends_a_row_of_failures_even_if_it_is_a_refusal(self) -> None:
        breaker = Breaker()
        for _ in range(3):
            for _ in range(4):
                breaker.failed(admitted(breaker, 0), 0)
            breaker.answered(admitted(breaker, 0))
        assert breaker.state == "closed"

    def test_an_open_one_says_how_long_to_postpone(self) -> None:
        breaker = opened(at=100)
        assert breaker.wait(100) == 30
        assert breaker.wait(129) == 1
        assert breaker.wait(131) == 0

    def test_it_lets_one_trial_through_after_thirty_seconds(self) -> None:
        breaker = opened(at=100)
        assert breaker.admit(129.9) is None
        assert breaker.admit(130) is not None
        assert breaker.state == "half-open"
        assert breaker.admit(130) is None
        assert breaker.admit(1000) is None
        assert 0 < breaker.wait(130) <= 1

    def test_it_closes_when_the_trial_is_answered(self) -> None:
        breaker = opened()
        breaker.answered(admitted(breaker, 30))
        assert breaker.state == "closed"
        assert breaker.admit(30) is not None

    def test_it_counts_from_nought_after_closing(self) -> None:
        breaker = opened()
        breaker.answered(admitted(breaker, 30))
        for _ in range(4):
            breaker.failed(admitted(breaker, 30), 30)
        assert breaker.state == "closed"

    def test_it_stays_open_for_another_thirty_seconds_when_the_trial_fails(self) -> None:
        breaker = opened()
        breaker.failed(admitted(breaker, 30), 35)
        assert breaker.state == "open"
        assert breaker.admit(64.9) is None
        assert breaker.admit(65) is not None

    def test_a_trial_that_was_abandoned_makes_way_for_the_next(self) -> None:
        breaker = opened()
        breaker.abandoned(admitted(breaker, 30))
        assert breaker.admit(30) is not None

    def test_abandoning_a_call_says_nothing_of_the_provider(self) -> None:
        breaker = Breaker()
        for _ in range(10):
            breaker.abandoned(admitted(breaker, 0))
        for _ in range(4):
            breaker.failed(admitted(breaker, 0), 0)
        breaker.abandoned(admitted(breaker, 0))
        assert state_of(breaker) == "closed"
        breaker.failed(admitted(breaker, 0), 0)
        assert state_of(breaker) == "open"

    @pytest.mark.parametrize("late", ["answered", "failed", "abandoned"])
    def test_a_call_from_before_it_opened_neither_closes_it_nor_ends_the_trial(self, late: str) -> None:
        breaker = Breaker()
        permits = [admitted(breaker, 0) for _ in range(6)]
        for permit in permits[:5]:
            breaker.failed(permit, 0)
        trial = admitted(breaker, 30)
        if late == "answered":
            breaker.answered(permits[5])
        elif late == "failed":
            breaker.failed(permits[5], 31)
        else:
            breaker.abandoned(permits[5])
        assert state_of(breaker) == "half-open"
        assert breaker.admit(31) is None
        breaker.answered(trial)
        assert state_of(breaker) == "closed"


class AnyBreaker(RuleBasedStateMachine):
    """Calls begin and end in any order and at any time; the breaker's promises hold throughout."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.opened_at = 0.0
        self.trials: set[Permit] = set()

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 29.9, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def ask(self) -> Permit | None:
        before = self.breaker.state
        wait = self.breaker.wait(self.now)
        permit = self.breaker.admit(self.now)
        assert (permit is not None) == (wait == 0)
        if before == "closed":
            assert permit is not None
        elif permit is not None:
            assert before == "open"
            assert self.now >= self.opened_at + OPEN_SECONDS
            assert not self.trials
            self.trials.add(permit)
        return permit

    @rule(permit=consumes(calls))
    def answer(self, permit: Permit | None) -> None:
        before = self.breaker.state
        if permit is None:
            return
        self.breaker.answered(permit)
        if permit in self.trials:
            assert self.breaker.state == "closed"
        else:
            assert self.breaker.state == before
        self.trials.discard(permit)

    @rule(permit=consumes(calls))
    def fail(self, permit: Permit | None) -> None:
        before = self.breaker.state
        if permit is None:
            return
        self.breaker.failed(permit, self.now)
        after = self.breaker.state
        if permit in self.trials:
            assert after == "open"
        elif before != "closed":
            assert after == before
        if after == "open" and before != "open":
            self.opened_at = self.now
        self.trials.discard(permit)

    @rule(permit=consumes(calls))
    def abandon(self, permit: Permit | None) -> None:
        before = self.breaker.state
        if permit is None:
            return
        self.breaker.abandoned(permit)
        assert self.breaker.state == ("open" if permit in self.trials else before)
        self.trials.discard(permit)

    @precondition(lambda self: self.breaker.state == "closed")
    @rule(failures=st.integers(1, OPENS_AFTER))
    def fail_in_a_row(self, failures: int) -> None:
        self.breaker.answered(admitted(self.breaker, self.now))
        for _ in range(failures):
            assert self.breaker.state == "closed"
            self.breaker.failed(admitted(self.breaker, self.now), self.now)
        assert self.breaker.state == ("open" if failures == OPENS_AFTER else "closed")
        if failures == OPENS_AFTER:
            self.opened_at = self.now

    @invariant()
    def at_most_one_trial_is_out_and_only_half_open(self) -> None:
        assert len(self.trials) == (1 if self.breaker.state == "half-open" else 0)


TestAnyBreaker = AnyBreaker.TestCase
TestAnyBreaker.settings = settings(stateful_step_count=40)
