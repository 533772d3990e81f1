"""Logs of a system that runs for weeks."""

from pathlib import Path

from orderflow.local.log_files import begin_anew


def test_a_log_that_is_too_long_is_put_beside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "order-0.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old line\n" * 3)
        begin_anew(tmp_path, longest=20)
        writer.write(b"new line\n")
    assert log.read_bytes() == b"new line\n"
    assert (tmp_path / "order-0.log.1").read_bytes() == b"old line\n" * 3


def test_a_second_time_the_newest_part_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "order-0.log"
    for text in (b"first", b"second"):
        log.write_bytes(text)
        begin_anew(tmp_path, longest=1)
    assert (tmp_path / "order-0.log.1").read_bytes() == b"second"


def test_what_is_short_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "order-0.log").write_bytes(b"short")
    begin_anew(tmp_path, longest=5)
    assert [file.name for file in tmp_path.iterdir()] == ["order-0.log"]
