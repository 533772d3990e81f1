"""What a process says of itself: lines of JSON, which are nobody's trouble when they cannot be written."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from orderflow.runtime.telemetry import configure_logging


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logged_to(file: Path, monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    stream = io.TextIOWrapper(file.open("wb"), write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    configure_logging("payment")
    return stream


def test_a_line_is_one_json_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with logged_to(tmp_path / "log", monkeypatch):
        structlog.get_logger("here").info("resumed", what="database")
    told = json.loads((tmp_path / "log").read_bytes())
    assert (told["service"], told["event"], told["what"], told["level"]) == ("payment", "resumed", "database", "info")


def test_a_line_for_which_the_disk_has_no_room_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = logged_to(Path("/dev/full"), monkeypatch)
    structlog.get_logger("here").warning("store failed")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space left"):
        stream.close()
