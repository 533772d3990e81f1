"""Which rows may go: a pure function of a row, its time, and what is known around it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orderflow.runtime.retention import Aged, may_go

UNTIL = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD = UNTIL - timedelta(microseconds=1)
TOPIC = ("payment-commands", 0)

moments = st.none() | st.sampled_from([OLD, UNTIL]) | st.datetimes(timezones=st.just(UTC))
places = st.none() | st.tuples(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 1)), st.integers(0, 5))
rows = st.builds(Aged, key=st.sampled_from(["o1", "o2"]), served_at=moments, place=places)
firsts = st.dictionaries(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 1)), st.integers(0, 6))
busies = st.sets(st.sampled_from(["o1", "o2"]))


def test_a_row_goes_when_it_has_served_for_its_time() -> None:
    row = Aged(key="o1", served_at=OLD)
    assert may_go(row, until=UNTIL, busy=(), first={})


def test_a_row_stays_until_its_time_is_over() -> None:
    assert not may_go(Aged(key="o1", served_at=UNTIL), until=UNTIL, busy=(), first={})


def test_what_has_not_served_yet_stays_for_ever() -> None:
    assert not may_go(Aged(key="o1", served_at=None), until=UNTIL, busy=(), first={})


def test_everything_of_an_order_that_is_not_over_stays() -> None:
    assert not may_go(Aged(key="o1", served_at=OLD), until=UNTIL, busy={"o1"}, first={})
    assert may_go(Aged(key="o2", served_at=OLD), until=UNTIL, busy={"o1"}, first={})


def test_a_message_that_the_broker_still_holds_stays_known() -> None:
    held = Aged(key="o1", served_at=OLD, place=(TOPIC, 7))
    assert not may_go(held, until=UNTIL, busy=(), first={TOPIC: 7})
    assert may_go(held, until=UNTIL, busy=(), first={TOPIC: 8})


def test_a_partition_that_nobody_has_told_of_may_hold_anything() -> None:
    assert not may_go(Aged(key="o1", served_at=OLD, place=(TOPIC, 7)), until=UNTIL, busy=(), first={})


@given(row=rows, until=moments.filter(bool), busy=busies, first=firsts)
def test_nothing_goes_that_anything_needs(
    row: Aged, until: datetime, busy: set[str], first: dict[tuple[str, int], int]
) -> None:
    if not may_go(row, until=until, busy=busy, first=first):
        return
    assert row.served_at is not None
    assert row.served_at < until
    assert row.key not in busy
    assert row.place is None or row.place[1] < first[row.place[0]]


@given(row=rows, until=moments.filter(bool), busy=busies, first=firsts, more=st.integers(0, 3))
def test_what_may_go_may_go_for_ever(
    row: Aged, until: datetime, busy: set[str], first: dict[tuple[str, int], int], more: int
) -> None:
    if may_go(row, until=until, busy=busy, first=first):
        later = {place: offset + more for place, offset in first.items()}
        assert may_go(row, until=until, busy=set(), first=later)
