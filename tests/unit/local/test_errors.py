"""A process that has ended is explained by one line of its log."""

from pathlib import Path

import pytest

from orderflow.local.errors import last_line, last_line_of


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "it left no word in its log"),
        ("starting\nstopping\n\n", "stopping"),
        ("Traceback (most recent call last):\n  File 'x'\nValueError: no\n", "ValueError: no"),
        (
            "x ERROR Fatal (Server)\norg.x.KafkaException: cannot bind: in use.\n\tat a.b(C:1)\nx INFO shut down\n",
            "org.x.KafkaException: cannot bind: in use.",
        ),
        (
            "a.b.OperationalError: no connection\n(Background on this error at: x)\n",
            "a.b.OperationalError: no connection",
        ),
    ],
)
def test_the_line_that_tells_most_is_the_last_to_name_an_error_else_the_last(log: str, line: str) -> None:
    assert last_line(log) == line


def test_a_long_line_is_cut() -> None:
    assert len(last_line("x" * 10_000)) == 400


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("ERROR long ago\n" + "fine\n" * 50_000)
    assert last_line_of(log) == "fine"


def test_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert last_line_of(tmp_path / "x.log").endswith("x.log cannot be read: No such file or directory")
