"""What every simulated process is: a life, a line to the broker, and SQL, in one place of the system."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine

from orderflow.runtime.context import Context
from orderflow.simulation.life import Life
from orderflow.simulation.sql import InlineSql
from orderflow.simulation.story import Story
from orderflow.simulation.topics import Line, Topics


@dataclass(frozen=True)
class Place:
    """Where processes of one context run.

    Attributes:
        observe: told what a life's SQL has returned, or has failed with.
    """

    context: Context[Any]
    engine: Engine
    topics: Topics
    story: Story
    observe: Callable[[Life, object, BaseException | None], None]


class Process:
    """One life of a process.

    Attributes:
        line: its line to the broker.
    """

    def __init__(self, place: Place, life: Life, revision: str) -> None:
        self.context = place.context
        self.life = life
        self.revision = revision
        self.line = Line(place.topics, life, place.story.note)
        self._engine = place.engine
        self._story = place.story
        self._sql = InlineSql(life, partial(place.observe, life))

    def start(self) -> None:
        """Begin."""
        self._note(f"starts ({self.revision})")

    def leave(self) -> None:
        """End: its revision has been removed."""
        self._note("is removed, and leaves")
        self.life.end()

    def _note(self, what: str) -> None:
        self._story.note(self.life.owner, what)
