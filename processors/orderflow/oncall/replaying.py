"""Asks the owners of partitions to replay or discard dead letters, and waits for what becomes of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Engine

from orderflow.oncall.letters import Found, named
from orderflow.runtime import letters
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import reading
from orderflow.runtime.dead_letters import OPEN
from orderflow.runtime.letters import Action

LOOK_EVERY: Final = 0.25
"""Seconds between looks at what has become of a request; its owner looks for requests every second."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one letter.

    Attributes:
        outcome: to be replayed (or discarded), of a dry run; quarantined, asked before, not open: nothing was done;
            replayed, discarded, superseded; failed again; waits, behind an earlier letter; not done yet.
    """

    letter: Found
    outcome: str


WELL: Final = frozenset({"replayed", "discarded", "to be replayed", "to be discarded"})
"""Outcomes with which a command has done what it was told."""

_DONE: Final = {"replay": "replayed", "discard": "discarded"}
_REFUSED: Final = {"asked-before": "asked before", "not-open": "not open", "quarantined": "quarantined"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of letters, by whom, and how fast.

    Attributes:
        rate: letters per second at the most; ``None`` for no bound.
        forced: also out of quarantine.
        quarantine_after: failed replays that put a letter there.
    """

    action: Action
    behalf: Behalf
    quarantine_after: int
    rate: float | None = None
    forced: bool = False


def rehearse(wish: Wish, chosen: Sequence[Found]) -> list[Fate]:
    """Return what would become of the letters as they are, without asking for anything."""
    return [Fate(letter, _rehearsed(wish, letter)) for letter in chosen]


def _rehearsed(wish: Wish, letter: Found) -> str:
    if letter.status != OPEN:
        return "not open"
    if letter.asked is not None:
        return "asked before"
    if wish.action == "replay" and letter.replays >= wish.quarantine_after and not wish.forced:
        return "quarantined"
    return f"to be {_DONE[wish.action]}"


def ask(engine: Engine, wish: Wish, chosen: Sequence[Found], start: datetime, first: int = 0) -> list[Fate]:
    """Ask for what is wanted of the letters of one context.

    Args:
        start: when the first of all letters is due; later ones follow at the wish's rate.
        first: how many letters of other contexts come before these.
    """
    fates = []
    for place, letter in enumerate(chosen, start=first):
        due_at = start + timedelta(seconds=place / wish.rate if wish.rate else 0)
        # A transaction for each: nobody waits for the lock while a thousand are asked for.
        with engine.begin() as connection:
            answer = letters.ask(
                connection,
                letter.id,
                wish.action,
                wish.behalf,
                due_at=due_at,
                now=datetime.now(UTC),
                quarantine_after=wish.quarantine_after,
                forced=wish.forced,
            )
        fates.append(Fate(letter, _REFUSED.get(answer, "not done yet")))
    return fates


def follow(
    engine: Engine, context: str, fates: Sequence[Fate], until: float, clock: Callable[[], float] = time.monotonic
) -> list[Fate]:
    """Look at the letters until all that was asked for is done, or ``clock`` has come to ``until``."""
    while True:
        with reading(engine) as connection:
            now = {
                letter.id: letter
                for letter in named(connection, context, [f.letter.id for f in fates if f.outcome == "not done yet"])
            }
        fates = [replace(fate, outcome=_became(fate, now.get(fate.letter.id))) for fate in fates]
        if all(fate.outcome != "not done yet" for fate in fates) or clock() >= until:
            return list(fates)
        time.sleep(LOOK_EVERY)


def _became(fate: Fate, now: Found | None) -> str:
    if fate.outcome != "not done yet" or now is None or now.asked is not None:
        return fate.outcome
    if now.status != OPEN:
        return now.status
    return f"failed again: {now.reason}" if now.replays > fate.letter.replays else "waits"
