"""The arithmetic of a load: when orders are due, and what their times amount to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.client.figures import Ending, Tally, percentile, quantiles, schedule, shortfall


def done(at: float, status: str = "Completed", *, completed: bool = True) -> Ending:
    return Ending(at=at, status=status, completed=completed)


class TestSchedule:
    def test_orders_are_due_at_even_distances(self) -> None:
        assert schedule(4.0, 5) == [0.0, 0.25, 0.5, 0.75, 1.0]

    def test_no_rounding_adds_up_over_a_million_orders(self) -> None:
        assert schedule(1000.0, 1_000_001)[-1] == 1000.0

    def test_a_rate_below_one_is_a_rate(self) -> None:
        assert schedule(0.5, 3) == [0.0, 2.0, 4.0]


class TestPercentile:
    @pytest.mark.parametrize(
        ("percent", "value"), [(50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0), (1, 1.0), (0.1, 1.0)]
    )
    def test_of_a_hundred_values_it_is_the_value_of_that_rank(self, percent: float, value: float) -> None:
        assert percentile([float(number) for number in range(1, 101)], percent) == value

    def test_of_one_value_it_is_that_value(self) -> None:
        assert {percentile([7.0], percent) for percent in (0, 50, 99, 100)} == {7.0}

    @given(
        st.lists(st.floats(0, 1e6), min_size=1).map(sorted),
        st.integers(0, 100),
    )
    def test_that_many_percent_do_not_exceed_it_and_it_is_the_least_such_value(
        self, ordered: list[float], percent: int
    ) -> None:
        found = percentile(ordered, percent)
        assert found in ordered
        assert sum(value <= found for value in ordered) * 100 >= percent * len(ordered)
        assert sum(value < found for value in ordered) * 100 <= percent * len(ordered)

    def test_quantiles_are_milliseconds_of_seconds_in_any_order(self) -> None:
        found = quantiles([0.003, 0.001, 0.002])
        assert found is not None
        assert (found.p50, found.p95, found.p99) == (2.0, 3.0, 3.0)

    def test_nothing_has_no_quantiles(self) -> None:
        assert quantiles([]) is None


class TestTally:
    def test_latency_counts_from_when_the_order_was_due_not_from_when_it_was_sent(self) -> None:
        tally = Tally(10.0, [100.0, 100.1])
        tally.accepted(0, "a", 102.0)
        tally.accepted(1, "b", 102.0)
        report = tally.report("broker")
        assert report.accept_ms is not None
        assert (report.accept_ms.p50, report.accept_ms.p95) == (1900.0, 2000.0)

    def test_an_end_may_be_told_before_the_acceptance(self) -> None:
        tally = Tally(1.0, [0.0])
        tally.ended("a", done(0.2))
        tally.accepted(0, "a", 0.3)
        assert tally.is_complete
        report = tally.report("broker")
        assert report.complete_ms is not None
        assert report.complete_ms.p50 == 200.0

    def test_only_the_first_end_counts(self) -> None:
        tally = Tally(1.0, [0.0])
        tally.accepted(0, "a", 0.1)
        tally.ended("a", done(0.2))
        tally.ended("a", done(5.0, "Cancelled", completed=False))
        assert tally.report("broker").outcomes == {"Completed": 1}

    def test_other_orders_make_no_difference(self) -> None:
        tally = Tally(1.0, [0.0])
        tally.ended("somebody-else's", done(0.1))
        tally.accepted(0, "a", 0.1)
        assert not tally.is_complete
        assert tally.report("broker").outcomes == {}

    def test_it_is_complete_when_all_are_answered_and_the_accepted_have_ended(self) -> None:
        tally = Tally(1.0, [0.0, 1.0, 2.0])
        tally.accepted(0, "a", 0.1)
        tally.ended("a", done(0.2))
        tally.refused("503", "the store does not answer", 1.1)
        assert (tally.answered, tally.finished, tally.is_complete) == (2, 1, False)
        tally.accepted(2, "c", 2.1)
        assert not tally.is_complete
        tally.ended("c", done(2.2))
        assert tally.is_complete

    def test_cancelled_orders_are_outcomes_but_no_completions(self) -> None:
        tally = Tally(2.0, [0.0, 0.5])
        tally.accepted(0, "a", 0.1)
        tally.accepted(1, "b", 0.6)
        tally.ended("a", done(1.0))
        tally.ended("b", done(4.0, "Cancelled", completed=False))
        report = tally.report("broker")
        assert report.outcomes == {"Completed": 1, "Cancelled": 1}
        assert report.complete_ms is not None
        assert report.complete_ms.p99 == 1000.0
        assert (report.completed_per_second, report.seconds) == (1.0, 4.0)

    def test_the_rate_achieved_is_that_of_acceptance(self) -> None:
        tally = Tally(100.0, [10.0, 10.01])
        tally.accepted(0, "a", 10.5)
        tally.accepted(1, "b", 11.0)
        report = tally.report("broker")
        assert (report.rate_asked, report.rate_achieved) == (100.0, 2.0)

    def test_with_nothing_accepted_there_are_no_figures_and_no_failure(self) -> None:
        tally = Tally(100.0, [10.0])
        tally.give_up("no answer")
        report = tally.report("broker")
        assert (report.accept_ms, report.complete_ms, report.rate_achieved) == (None, None, 0.0)
        assert report.failed == {"no answer": 1}


class TestShortfall:
    def test_there_is_none_when_every_order_was_accepted_and_has_ended(self) -> None:
        tally = Tally(1.0, [0.0])
        tally.accepted(0, "a", 0.1)
        tally.ended("a", done(0.2, "Cancelled", completed=False))
        assert shortfall(tally.report("broker"), "", 120) == ""

    def test_it_names_how_many_were_not_accepted_and_why_and_how_many_did_not_end(self) -> None:
        tally = Tally(1.0, [0.0, 1.0, 2.0, 3.0])
        tally.accepted(0, "a", 0.1)
        tally.refused("422", "flow: there is no flow 'x'", 0.2)
        tally.refused("422", "something else", 0.2)
        tally.give_up("no answer")
        assert shortfall(tally.report("broker"), tally.first_reason, 120) == (
            "3 of 4 orders were not accepted (422: 2, no answer: 1; the first: flow: there is no flow 'x'), "
            "and 1 of 1 accepted orders did not end within 120 s"
        )
