"""What the options of the commands mean."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.client.failures import Failure
from orderflow.oncall.choosing import Choice, behalf_of, moment_of, split
from orderflow.spec.resource import CONTEXTS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TestAMoment:
    @pytest.mark.parametrize(
        ("text", "before"),
        [
            ("30s", timedelta(seconds=30)),
            ("45m", timedelta(minutes=45)),
            ("2h", timedelta(hours=2)),
            ("7d", timedelta(days=7)),
        ],
    )
    def test_may_be_so_long_ago(self, text: str, before: timedelta) -> None:
        assert moment_of(text, NOW) == NOW - before

    @given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)), st.integers(-12, 12))
    def test_may_be_a_time_with_any_offset(self, at: datetime, hours: int) -> None:
        there = at.replace(tzinfo=timezone(timedelta(hours=hours)))
        assert moment_of(there.isoformat(), NOW) == there

    def test_without_an_offset_is_in_utc(self) -> None:
        assert moment_of("2026-03-01T11:00", NOW) == NOW - timedelta(hours=1)

    @pytest.mark.parametrize("text", ["", "yesterday", "2 h", "-2h", "2w", "1h30m"])
    def test_is_nothing_else(self, text: str) -> None:
        with pytest.raises(ValueError, match="Invalid isoformat"):
            moment_of(text, NOW)


class TestAName:
    @given(st.sampled_from(CONTEXTS), st.text(min_size=1))
    def test_has_a_context_and_a_number_or_id(self, context: str, name: str) -> None:
        assert split(f"{context}/{name}") == (context, name)

    @pytest.mark.parametrize("name", ["12", "payment", "payment/", "/12", "shipping/12"])
    def test_that_has_not_is_answered_by_a_sentence(self, name: str) -> None:
        with pytest.raises(Failure, match="expected CONTEXT/NAME"):
            split(name)


class TestWhoActs:
    def test_is_who_is_named(self) -> None:
        assert behalf_of("ada", "why not").actor == "ada"

    def test_or_else_who_the_machine_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "grace")
        assert behalf_of(None, "why not").actor == "grace"

    def test_fits_its_column(self) -> None:
        with pytest.raises(Failure, match="200"):
            behalf_of("a" * 201, "why not")


def test_a_choice_of_nothing_in_particular_is_of_every_context() -> None:
    assert Choice().is_empty
    assert Choice().named_contexts == CONTEXTS
    assert not Choice(key="o1").is_empty
