"""What the data directory says, and who is at work on it."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orderflow.local.errors import LocalError
from orderflow.local.state import Folder, Lock, ProcessStatus, Status, replace_file
from orderflow.local.up import down, status

PAYMENT = ProcessStatus(
    name="payment-0",
    kind="processor",
    state="ready",
    ready=True,
    pid=4711,
    port=20_001,
    restarts=2,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    lag=0,
    detail="",
)
STATUS = Status(
    name="shop",
    data_dir="/data",
    running=True,
    ready=True,
    pid=4710,
    revision="r1",
    broker="127.0.0.1:20000",
    gateway="http://127.0.0.1:8080",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    processes=(PAYMENT,),
)


def test_the_status_survives_its_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_status(STATUS)
    assert folder.read_status() == STATUS
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_without_a_status_has_none(tmp_path: Path) -> None:
    assert Folder(tmp_path).read_status() is None
    (tmp_path / "state.json").write_text("{half")
    assert Folder(tmp_path).read_status() is None


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        replace_file(path, b"new")
    assert [left.name for left in tmp_path.iterdir()] == ["x"]


def test_a_lock_is_held_until_everybody_has_let_go(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert other.holder() is None
    assert lock.take(patience=0)
    assert other.holder() == os.getpid()
    assert not other.take(patience=0)
    assert lock.descriptor is not None
    inherited = os.dup(lock.descriptor)
    lock.give_back()
    assert other.holder() is not None
    os.close(inherited)
    assert other.wait_until_free(patience=0)
    assert other.take(patience=0)
    other.give_back()


def test_the_status_of_a_system_that_runs_is_as_it_says(tmp_path: Path) -> None:
    Folder(tmp_path).write_status(STATUS)
    lock = Lock(Folder(tmp_path).supervisor_lock)
    lock.take(patience=0)
    assert status(tmp_path) == STATUS
    lock.give_back()


def test_a_status_that_a_crash_has_left_is_told_as_what_was(tmp_path: Path) -> None:
    Folder(tmp_path).write_status(STATUS)
    left = status(tmp_path)
    assert (left.running, left.ready) == (False, False)
    assert [(one.name, one.pid, one.state, one.restarts) for one in left.processes] == [
        ("payment-0", None, "stopped", 2)
    ]


def test_where_nothing_ever_ran_there_is_no_status(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"^there is no system in .*: `orderflow up` starts one$"):
        status(tmp_path)


def test_where_nothing_runs_there_is_nothing_to_stop(tmp_path: Path) -> None:
    assert down(tmp_path) is False
    assert down(tmp_path / "absent") is False
    Folder(tmp_path).write_status(STATUS)
    assert down(tmp_path) is False
