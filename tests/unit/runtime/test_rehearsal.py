"""A rehearsal: done in a child, to see whether it lives through it."""

import os
import resource
import signal
from pathlib import Path

import pytest

from orderflow.runtime import rehearsal
from orderflow.runtime.rehearsal import ending_of


def test_what_ends_nothing_has_no_ending() -> None:
    assert ending_of(lambda: None) == ""


def test_what_raises_ends_nothing() -> None:
    assert ending_of(lambda: 1 / 0) == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
def test_a_signal_is_named(number: signal.Signals) -> None:
    assert ending_of(lambda: os.kill(os.getpid(), number)) == number.name


def test_an_exit_is_an_ending() -> None:
    def leave() -> None:
        raise SystemExit

    assert ending_of(leave) == "an exit"


def test_whoever_takes_too_much_memory_ends() -> None:
    assert ending_of(lambda: bytearray(2 * rehearsal.MEMORY)) == "out of memory"


def test_whoever_takes_too_much_time_would_end() -> None:
    def look() -> None:
        if resource.getrlimit(resource.RLIMIT_CPU)[0] == rehearsal.CPU_SECONDS:
            raise SystemExit

    assert ending_of(look) == "an exit"


def test_one_that_lives_through_it_acquits(tmp_path: Path) -> None:
    """The kernel may take one for its memory."""
    ended = tmp_path / "ended"

    def end_twice() -> None:
        with ended.open("a") as file:
            file.write("x")
        if len(ended.read_text()) < rehearsal.TIMES:
            os.kill(os.getpid(), signal.SIGKILL)

    assert ending_of(end_twice) == ""
    assert len(ended.read_text()) == rehearsal.TIMES


def test_a_child_that_stands_still_has_shown_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.02)
    assert ending_of(signal.pause) == ""


def test_what_it_does_stays_in_the_child() -> None:
    kept: list[int] = []
    ending_of(lambda: kept.append(1))
    assert kept == []
