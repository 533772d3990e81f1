"""How far a load has come, on a terminal. Elsewhere nothing is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orderflow.client.figures import Tally

STROKE = 0.2
"""Seconds between two drawings: each takes milliseconds from the core that sends the orders."""


@contextmanager
def progress(orders: int, stream: TextIO) -> Iterator[Callable[[Tally], None]]:
    """Give what shows a tally; the bars go when the block ends."""
    console = Console(file=stream)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bars:
        answered, finished = bars.add_task("answered", total=orders), bars.add_task("ended", total=orders)
        drawn = 0.0

        def show(tally: Tally) -> None:
            nonlocal drawn
            if monotonic() - drawn < STROKE and not tally.is_complete:
                return
            drawn = monotonic()
            bars.update(answered, completed=tally.answered)
            bars.update(finished, completed=tally.finished, refresh=True)

        yield show
