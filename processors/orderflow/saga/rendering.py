"""The table as a page to read: ``python -m orderflow.saga.rendering > docs/saga-table.md``."""

from collections.abc import Iterator

from orderflow.saga.table import ACTIONS, KINDS, NOBODY, TABLE, Kind, Phase, Standing, Status

_HEAD = """\
# The saga: every message in every standing

Rendered from `orderflow/saga/table.py` by `python -m orderflow.saga.rendering`; a test keeps the two in step.

A row is the phase of the order, a column the status of the step that the message is about (`absent`: the order's plan
has no such step; `asked`: its outcome is unknown; `undoing`: its compensation has not been answered). A command to the
order is about the plan's last step.
"""


def markdown() -> str:
    """Return the table as a Markdown document."""
    return "\n".join((_HEAD, *_actions(), *(line for kind in Kind for line in _grid(kind))))


def _actions() -> Iterator[str]:
    yield "## What is done"
    yield ""
    yield "| action | |"
    yield "|---|---|"
    yield from (f"| {action} | {meaning} |" for action, meaning in ACTIONS.items())
    yield ""


def _grid(kind: Kind) -> Iterator[str]:
    yield f"## {kind}"
    yield ""
    yield f"{KINDS[kind]}. For an order that is not there: {TABLE[NOBODY, kind]}."
    yield ""
    yield f"| | {' | '.join(Status)} |"
    yield f"|---{'|---' * len(Status)}|"
    for phase in Phase:
        if phase is not Phase.NONE:
            yield f"| {phase} | {' | '.join(TABLE[Standing(phase, status), kind] for status in Status)} |"
    yield ""


if __name__ == "__main__":
    print(markdown(), end="")
