"""``make histories``: tells every story and writes down what was decided.

What is recorded stays: a history that today's code decides as it did is left alone, whatever else has changed. If one
is decided otherwise, nothing is written until somebody says that it is meant: ``make histories ARGS=--new-version``.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from sqlalchemy import select

from harness.fates import WINDOW, Story, stories
from harness.histories import DECLARED, FOLDER, Difference, Head, History, Line, undeclared, versions
from harness.pump import System, all_contexts, files_in
from harness.story import LAMP
from orderflow.runtime.database import reading
from orderflow.runtime.schema import decisions

UNKNOWN = "say why"
"""Stands in a declared difference until somebody has said it."""


def recorded(story: Story, folder: Path) -> History:
    """Tell the story to all contexts and return what they decided, context by context."""
    system = System(files_in(folder), story.simulation, story.flows)
    try:
        system.declare(LAMP)
        system.settle()
        story.tell(system, story.flow)
        system.wait(WINDOW)
        lines = [line for name in system.contexts for line in _kept(system, name)]
    finally:
        system.close()
    return History(Head(flow=story.flow, outcome=story.outcome), lines)


def _kept(system: System, context: str) -> Iterator[Line]:
    table = decisions.c
    query = select(table.key, table.message, table.shared, table.decision).order_by(table.id)
    with reading(system.databases[context]) as connection:
        for key, message, shared, decision in connection.execute(query):
            yield Line(
                context=context,
                key=key,
                message=msgspec.Raw(message),
                decision=msgspec.Raw(decision),
                shared=msgspec.Raw(shared),
            )


def bring_up_to_date(wanted: Iterable[Story], folder: Path = FOLDER, *, new_version: bool = False) -> list[str]:
    """Record what is not recorded yet and return the names of the files written.

    Args:
        new_version: record everything anew beside what there is, and declare what of that is decided otherwise now.

    Raises:
        Changed: something is decided otherwise, and nobody has said that it is meant.
    """
    known = versions(folder)
    changed = {version: undeclared(version, all_contexts()) for version in known}
    if any(changed.values()) and not new_version:
        raise Changed([difference for found in changed.values() for difference in found])
    for version, found in changed.items():
        _declare(version, found)
    newest = known[-1] if known and not new_version else folder / f"v{len(known) + 1}"
    return list(_write(wanted, newest))


class Changed(Exception):  # noqa: N818 - says what has happened
    """Today's code decides otherwise than was recorded."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        super().__init__("\n".join(str(difference) for difference in differences))


def _declare(version: Path, found: Sequence[Difference]) -> None:
    if found:
        with (version / DECLARED).open("ab") as file:
            file.writelines(
                msgspec.json.encode(msgspec.structs.replace(difference, why=UNKNOWN)) + b"\n" for difference in found
            )


def _write(wanted: Iterable[Story], version: Path) -> Iterator[str]:
    version.mkdir(parents=True, exist_ok=True)
    for story in wanted:
        file = version / f"{story.name}.jsonl"
        if not file.exists():
            with tempfile.TemporaryDirectory() as databases:
                file.write_bytes(recorded(story, Path(databases)).encoded())
            yield f"{version.name}/{file.name}"


def main() -> int:
    """Run from the command line."""
    try:
        written = bring_up_to_date(stories(), new_version="--new-version" in sys.argv[1:])
    except Changed as changed:
        print(changed)
        print("Decided otherwise than recorded. If that is meant: make histories ARGS=--new-version")
        return 1
    print("\n".join(written) or "every story is recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
