"""What a person sees."""

from datetime import UTC, datetime

import msgspec
from rich.console import Console

from orderflow.local.board import PlainLines, board
from orderflow.local.state import ProcessStatus, Status

KAFKA = ProcessStatus(
    name="kafka",
    kind="broker",
    state="ready",
    ready=True,
    pid=4711,
    port=20_000,
    restarts=0,
    started_at=None,
    lag=None,
    detail="",
)
WAITING = msgspec.structs.replace(
    KAFKA, name="payment-0", state="waiting", pid=None, restarts=3, detail="exit status 1: [database] locked"
)
BUSY = msgspec.structs.replace(KAFKA, name="order-0", pid=4712, lag=17)
STATUS = Status(
    name="shop",
    data_dir="/data",
    running=True,
    ready=False,
    pid=1,
    revision="r1",
    broker="127.0.0.1:20000",
    gateway="http://127.0.0.1:8080",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    processes=(KAFKA, BUSY, WAITING),
)


def drawn(*lines: str) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(board(STATUS, lines))
    return capture.get()


def test_the_board_shows_where_to_go_and_how_everybody_is() -> None:
    text = drawn("payment-0 has ended")
    assert "shop · http://127.0.0.1:8080 · Kafka 127.0.0.1:20000 · revision r1" in text
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith("│")}
    assert "4711" in rows["kafka"]
    assert "17" in rows["order-0"]
    assert "waiting" in rows["payment-0"]
    assert "3" in rows["payment-0"]
    assert text.rstrip().endswith("payment-0 has ended")


def test_brackets_in_a_reason_are_no_markup() -> None:
    assert "[database] locked" in drawn()


def test_without_a_terminal_there_is_a_line_with_its_time_for_what_happens_and_none_for_how_it_is() -> None:
    written: list[str] = []
    lines = PlainLines(written.append)
    lines.show(STATUS)
    lines.say("kafka is ready")
    lines.ready()
    lines.close()
    [line] = written
    assert line.endswith(" kafka is ready\n")
    assert len(line.split()[0]) == len("12:34:56")


def test_a_reader_that_has_gone_stops_nobody() -> None:
    def gone(_text: str) -> None:
        raise BrokenPipeError

    PlainLines(gone).say("kafka is ready")
