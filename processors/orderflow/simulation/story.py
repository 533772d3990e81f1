"""What is told of a run while it happens."""

import asyncio

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a trace: at how many virtual seconds, who, and what."""

    at: float
    who: str
    what: str


class Story:
    """What one run has come to.

    Attributes:
        breaches: what was seen while it ran that must not be.
        reached: the races that were really reached.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.trace: list[Line] = []
        self.breaches: list[str] = []
        self.reached: set[str] = set()

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(Line(at=self._loop.time(), who=who, what=what))

    def reach(self, race: str) -> None:
        """Take note that a race was really reached."""
        self.reached.add(race)

    def breach(self, what: str) -> None:
        """Take note of what must not be."""
        self.note("!", what)
        self.breaches.append(what)
