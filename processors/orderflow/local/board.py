"""What a person sees of a system that is being brought up, runs, or is being taken down."""

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from orderflow.local.state import ProcessStatus, Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES: Final = {"ready": "green", "starting": "cyan", "unready": "yellow", "waiting": "red", "stopped": "dim"}
LINES: Final = 6
"""How many of the last lines stand below the board."""


class Reporter(Protocol):
    """Is told what happens."""

    def say(self, line: str) -> None:
        """Tell one thing that has happened."""

    def show(self, status: Status) -> None:
        """Tell how everything is now; called at least once a second."""

    def ready(self) -> None:
        """Tell that everything is ready for the first time."""

    def close(self) -> None:
        """Tell nothing more."""


class PlainLines:
    """Prints what happens, line by line: for a log, a pipe, a terminal that can do no more."""

    def __init__(self, write: Callable[[str], object] = sys.stdout.write) -> None:
        self._write = write

    def say(self, line: str) -> None:
        """Print the line with its time."""
        # A full disk or a reader that has gone is no reason to stop.
        with suppress(OSError):
            self._write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")
            sys.stdout.flush()

    def show(self, status: Status) -> None:
        """Print nothing: what matters of it has been said."""

    def ready(self) -> None:
        """Print nothing more."""

    def close(self) -> None:
        """Do nothing."""


class LiveBoard:
    """Draws all processes in a terminal, anew whenever something changes."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live  # noqa: PLC0415 - a seventh of a second that only a terminal needs

        self._lines: deque[str] = deque(maxlen=LINES)
        self._status: Status | None = None
        # It draws when told to: a thread of its own would be one too many beside a loop that starts processes.
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def say(self, line: str) -> None:
        """Add the line below the board."""
        self._lines.append(f"{datetime.now(UTC):%H:%M:%S} {line}")
        self._draw()

    def show(self, status: Status) -> None:
        """Draw."""
        self._status = status
        self._draw()

    def ready(self) -> None:
        """Draw nothing more: it can be seen."""

    def close(self) -> None:
        """Leave the last drawing where it is."""
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(board(self._status, tuple(self._lines)), refresh=True)


def board(status: Status | None, lines: tuple[str, ...]) -> "RenderableType":
    """Return the drawing of a system and the last lines said of it."""
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    said = Text("\n".join(lines), style="dim", overflow="ellipsis", no_wrap=True)
    return Group(_table(status), said) if status is not None else said


def _table(status: Status) -> "RenderableType":
    from rich.table import Table  # noqa: PLC0415

    where = f"{status.gateway} · Kafka {status.broker} · revision {status.revision}"
    table = Table(title=f"{status.name} · {where}", title_justify="left", expand=False)
    for heading, justify in (("process", "left"), ("pid", "right"), ("state", "left"), ("restarts", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("lag", justify="right")
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=60)
    for process in status.processes:
        table.add_row(*_row(process), style="dim" if process.state == "stopped" else None)
    return table


def _row(process: ProcessStatus) -> tuple[str, ...]:
    style = STYLES[process.state]
    return (
        process.name,
        str(process.pid or ""),
        f"[{style}]{process.state}[/]",
        str(process.restarts or ""),
        "" if process.lag is None else str(process.lag),
        _escaped(process.detail),
    )


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def reporter_for_terminal() -> Reporter:
    """Return a live board where standard output is a terminal that can draw one, plain lines otherwise."""
    if not sys.stdout.isatty():
        return PlainLines()
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    return LiveBoard(console) if console.is_terminal and not console.is_dumb_terminal else PlainLines()
