"""What a process reads about its share."""

from pathlib import Path

import pytest

from orderflow.runtime.share import SHARE_VARIABLE, Share, share_of


def test_without_a_file_there_is_no_limit() -> None:
    assert share_of({}).limit is None


@pytest.mark.parametrize(
    ("text", "limit"), [("all", None), ("3\n", 3), ("0", 0), ("", 0), ("many", 0), ("-1", 0)], ids=repr
)
def test_a_file_says_how_many_and_what_cannot_be_read_is_none(tmp_path: Path, text: str, limit: int | None) -> None:
    file = tmp_path / "share"
    file.write_text(text)
    assert share_of({SHARE_VARIABLE: str(file)}).limit == limit


def test_a_file_that_is_not_there_yet_keeps_a_process_out(tmp_path: Path) -> None:
    file = tmp_path / "share"
    share = Share(file)
    assert share.is_nothing
    assert not share.look()
    file.write_text("all")
    assert share.look()
    assert not share.is_nothing
