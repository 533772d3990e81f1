"""Recorded histories: what was once decided of every story, to be decided again by today's code.

A history is a file of JSON lines: the first says what it is, each further one is a decision with its input. What a
decision left as the aggregate's state is the input of the next decision about the same order in the same context, so it
is written once. :mod:`harness.recording` makes them.

There are versions, because orders that were begun under an older one may still be on their way. Where an older version
is meant to be decided differently, its ``differences.jsonl`` says so line by line, with the reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from orderflow.contracts import codec
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept, difference

FOLDER = Path(__file__).parents[1] / "histories"
SUFFIX = ".jsonl"
DECLARED = f"differences{SUFFIX}"
NOTHING = msgspec.Raw(b"null")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a history is of."""

    flow: str
    outcome: str


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision. ``shared`` is left out where the context has no shared rows."""

    context: str
    key: str
    message: msgspec.Raw
    decision: msgspec.Raw
    shared: msgspec.Raw = msgspec.Raw(b"{}")


class _State(msgspec.Struct):
    state: msgspec.Raw = NOTHING


@dataclass(frozen=True, slots=True)
class History:
    """One story as it was decided."""

    head: Head
    lines: Sequence[Line]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.head.flow}.{self.head.outcome}{SUFFIX}"

    def encoded(self) -> bytes:
        """Its file's content."""
        return b"".join(msgspec.json.encode(part) + b"\n" for part in (self.head, *self.lines))


def decoded(data: bytes) -> History:
    """Return the history that :meth:`History.encoded` wrote."""
    first, *others = data.splitlines()
    head = msgspec.json.decode(first, type=Head)
    return History(head, [msgspec.json.decode(line, type=Line) for line in others])


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that today's code does not make any more as it was recorded, and why that is so if somebody knows."""

    flow: str
    outcome: str
    line: int
    context: str
    message: str
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.flow}, {self.outcome}, line {self.line}: {self.message} of {self.context} {self.what}"


def versions(folder: Path = FOLDER) -> list[Path]:
    """The folders of all versions, the oldest first."""
    return sorted(folder.glob("v[0-9]*"), key=lambda path: int(path.name[1:]))


def histories(version: Path) -> Iterator[History]:
    """Every history of a version."""
    return (decoded(path.read_bytes()) for path in sorted(version.glob(f"*{SUFFIX}")) if path.name != DECLARED)


def declared(version: Path) -> list[Difference]:
    """The differences that somebody has looked at and means."""
    file = version / DECLARED
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=Difference) for line in lines]


def undeclared(version: Path, contexts: Mapping[str, Context[Any]]) -> list[Difference]:
    """What of the version is decided otherwise today without anybody having said so."""
    meant = {_bare(difference) for difference in declared(version)}
    found = (found for history in histories(version) for found in differences(history, contexts))
    return [difference for difference in found if difference not in meant]


def _bare(difference: Difference) -> Difference:
    return msgspec.structs.replace(difference, why="")


def differences(history: History, contexts: Mapping[str, Context[Any]]) -> Iterator[Difference]:
    """Decide every line of the history again and yield what comes out otherwise."""
    for number, (line, kept) in enumerate(kept_decisions(history, contexts), start=2):
        if what := difference(contexts[line.context], kept):
            message = codec.identify(kept.message)
            named = f"{message.event_type} {message.event_id}"
            yield Difference(
                flow=history.head.flow,
                outcome=history.head.outcome,
                line=number,
                context=line.context,
                message=named,
                what=what,
            )


def kept_decisions(history: History, contexts: Mapping[str, Context[Any]]) -> Iterator[tuple[Line, Kept]]:
    """Every line of the history with its whole input."""
    states: dict[tuple[str, str], bytes | None] = {}
    for line in history.lines:
        aggregate = _aggregate(contexts[line.context], line)
        before = states.get((line.context, aggregate))
        yield line, Kept(bytes(line.message), before, bytes(line.shared), bytes(line.decision))
        left = msgspec.json.decode(line.decision, type=_State).state
        if left != NOTHING:
            states[line.context, aggregate] = bytes(left)


def _aggregate(context: Context[Any], line: Line) -> str:
    try:
        return context.key_of(codec.decode(bytes(line.message))) or ""
    except codec.Unreadable:
        return line.key
