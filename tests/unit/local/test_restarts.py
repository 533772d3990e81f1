"""When a process that has ended is started again."""

import pytest

from orderflow.local.restarts import FIRST_DELAY, LONGEST_DELAY, STABLE, Restarts


def after(*lifetimes: float) -> Restarts:
    restarts = Restarts()
    for seconds in lifetimes:
        restarts = restarts.after(seconds)
    return restarts


def test_a_process_that_had_been_well_is_started_again_almost_at_once() -> None:
    assert after(STABLE).delay == FIRST_DELAY
    assert after(STABLE, STABLE, 10 * STABLE).delay == FIRST_DELAY


def test_one_that_ends_again_and_again_waits_twice_as_long_each_time() -> None:
    delays = [after(*[1.0] * times).delay for times in range(1, 5)]
    assert delays == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]


@pytest.mark.parametrize("times", [10, 100, 100_000])
def test_the_delay_has_a_longest(times: int) -> None:
    assert Restarts(times, times).delay == LONGEST_DELAY


def test_being_well_once_ends_the_row_and_keeps_the_count() -> None:
    restarts = after(1.0, 1.0, 1.0, STABLE)
    assert (restarts.total, restarts.in_a_row) == (4, 1)


def test_a_process_that_has_never_ended_waits_for_nothing_more_than_the_first_delay() -> None:
    assert Restarts().delay == FIRST_DELAY
    assert Restarts().total == 0
