"""What was seen in a drill: its record, and the tables of ``docs/drills.md`` that are made of the records.

``make drills`` writes the records and then the tables; a test holds the two against each other.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

CLONE: Final = Path(__file__).parents[2]
RECORDS: Final = CLONE / "docs" / "drills"
DOCUMENT: Final = CLONE / "docs" / "drills.md"

Figure = int | float | str


class Seen(msgspec.Struct, kw_only=True):
    """What was seen in one drill.

    Attributes:
        drill: its name.
        at: when it began.
        seconds: from the start of the system to the last question.
        stalled: seconds in which the machine stood still, or was busy with something else.
        fault: what showed that the fault had happened, in words and figures.
        in_flight: orders that had not ended when it was made.
        placed: orders accepted.
        healthy: those whose card and carrier never failed.
        completed, completed_healthy: those that ended well; of all, and of the healthy.
        retried_calls: calls made again, by whom they went to.
        asked_again: requests that orders have repeated, by request.
        compensated: orders that have undone a step, by the command that undoes it.
        duplicates: messages that came again and were dropped by the inbox.
        repeated: messages that had their answer already and were given it again.
        rewinds: partitions read again, because the broker held other messages than expected.
        lag: the most messages that waited for one processor.
        recovery: seconds until what was broken went on.
        ended_after: seconds from the end of the fault until the last order had ended.
    """

    drill: str
    at: datetime
    seconds: float = 0.0
    stalled: float = 0.0
    fault: dict[str, Figure] = {}
    in_flight: int = 0
    placed: int = 0
    healthy: int = 0
    completed: int = 0
    completed_healthy: int = 0
    retried_calls: dict[str, int] = {}
    asked_again: dict[str, int] = {}
    compensated: dict[str, int] = {}
    duplicates: int = 0
    repeated: int = 0
    rewinds: int = 0
    lag: int = 0
    recovery: dict[str, float] = {}
    ended_after: float = 0.0


def records(folder: Path = RECORDS) -> dict[str, Seen]:
    """Return the records in a folder, by the drill's name."""
    found = [msgspec.json.decode(file.read_bytes(), type=Seen) for file in sorted(folder.glob("*.json"))]
    return {seen.drill: seen for seen in found}


def with_tables(document: str, seen: Mapping[str, Seen]) -> str:
    """Return the document with its tables made anew: what follows a mark, up to the next empty line.

    Raises:
        KeyError: it has a mark for a drill of which there is no record.
    """

    def table(mark: re.Match[str]) -> str:
        lines = _overview(seen.values()) if mark[1] == "drills" else _one(seen[mark[1].removeprefix("drill ")])
        return f"<!-- {mark[1]} -->\n" + "\n".join(lines) + "\n\n"

    return re.sub(r"<!-- (drills|drill \S+) -->\n(?:\|.*\n)*\n", table, document)


def _overview(seen: Iterable[Seen]) -> list[str]:
    head = ("drill", "in flight", "orders", "completed", "of the healthy", "ended after", "verify")
    return _table(
        head,
        [
            (
                f"[{one.drill}](#{one.drill})",
                one.in_flight,
                one.placed,
                one.completed,
                f"{one.completed_healthy} of {one.healthy}, {_percent(one.completed_healthy, one.healthy)}",
                f"{one.ended_after:g} s" if one.ended_after else "",
                "clean",
            )
            for one in seen
        ],
    )


def _one(seen: Seen) -> list[str]:
    went_on: list[tuple[Figure, ...]] = [
        (f"{what} went on after", f"{seconds:g} s") for what, seconds in seen.recovery.items()
    ]
    cost: list[tuple[Figure, ...]] = [
        ("calls made again", _several(seen.retried_calls)),
        ("requests asked again", _several(seen.asked_again)),
        ("orders that undid a step", _several(seen.compensated)),
        ("copies dropped by the inboxes", seen.duplicates),
        ("requests answered from the state", seen.repeated),
        ("partitions read again", seen.rewinds),
        ("most messages waiting for one processor", seen.lag),
    ]
    fault: list[tuple[Figure, ...]] = [(name.replace("_", " "), figure) for name, figure in seen.fault.items()]
    return _table(("seen", ""), [*fault, *went_on, *cost])


def _several(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number) or "none"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Figure, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def main() -> int:
    """Make the tables of the document anew."""
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8"), records()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
