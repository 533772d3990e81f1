"""How figures add up and what is said of durations."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.contexts.analytics.figures import BOUNDS_MS, COUNTS, Durations, Figures, duration

durations = st.lists(st.integers(0, 1_000_000), max_size=60)


def of(milliseconds: list[int]) -> Durations:
    return sum((duration(each) for each in milliseconds), Durations())


def test_the_bounds_rise() -> None:
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))


def test_the_plain_counts_are_those_that_are_no_money_and_no_time() -> None:
    assert set(COUNTS) == set(Figures.__struct_fields__) - {"revenue", "refunded", "completion"}


@pytest.mark.parametrize("bound", BOUNDS_MS)
def test_a_bound_belongs_to_its_bucket(bound: int) -> None:
    index = BOUNDS_MS.index(bound)
    assert duration(bound).buckets[index] == 1
    assert duration(bound + 1).buckets[index + 1] == 1


@given(durations)
def test_mean_and_maximum_are_exact(milliseconds: list[int]) -> None:
    figures = of(milliseconds)
    if not milliseconds:
        assert (figures.mean, figures.p95, figures.longest) == (None, None, None)
        return
    assert figures.mean == Decimal(round(Fraction(sum(milliseconds), len(milliseconds)))) / 1000
    assert figures.longest == Decimal(max(milliseconds)) / 1000


@given(durations.filter(bool))
def test_the_percentile_is_never_too_small_and_off_by_less_than_a_bucket(milliseconds: list[int]) -> None:
    exact = sorted(milliseconds)[ceil(len(milliseconds) * Fraction(95, 100)) - 1]
    p95 = of(milliseconds).p95
    assert p95 is not None
    shown = int(p95 * 1000)
    assert exact <= shown <= max(milliseconds)
    assert not any(exact <= bound < shown for bound in BOUNDS_MS)


@given(durations, durations)
def test_figures_of_two_windows_are_those_of_all_their_events(first: list[int], second: list[int]) -> None:
    assert of(first) + of(second) == of(first + second) == of(second) + of(first)


@pytest.mark.parametrize(
    ("completed", "cancelled", "rate"), [(0, 0, None), (3, 0, "1.000"), (0, 2, "0.000"), (2, 1, "0.667")]
)
def test_the_completion_rate_is_of_the_orders_that_ended(completed: int, cancelled: int, rate: str | None) -> None:
    found = Figures(orders=9, completed=completed, cancelled=cancelled).completion_rate
    assert (found is None) if rate is None else (str(found) == rate)
