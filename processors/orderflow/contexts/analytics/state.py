"""What analytics knows: of each order how far its story has been told, and of each minute what happened in it."""

from datetime import UTC, datetime, timedelta

import msgspec

from orderflow.contexts.analytics.figures import Figures
from orderflow.contracts.identity import derive

WINDOW_SECONDS = 60
"""A window is a minute, so that its counts are figures per minute."""

GRACE_SECONDS = 5
"""How long after its end a window still waits for stragglers: as long as the relay's poll, which is when a message that
missed the fast path goes out."""


class Journey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order's story. ``counted`` names the kinds of facts that are in the figures, in alphabetical order.

    An order has at most one fact of each kind. A participant that is asked again tells it again, in an event of its
    own; this is where that is noticed.
    """

    order_id: str
    created_at: datetime | None = None
    flow: str | None = None
    ended: str = ""
    counted: tuple[str, ...] = ()


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened in one minute, by the events' own times.

    It is ``closed`` when it has been reported, and opened again by an event that comes later; ``revision`` counts the
    times that it was.
    """

    start: str
    figures: Figures = Figures()
    closed: bool = False
    revision: int = 0

    @property
    def due_at(self) -> datetime:
        """When the report of this revision is due: each revision a little later than the one it replaces."""
        started = datetime.fromisoformat(self.start)
        return started + timedelta(seconds=WINDOW_SECONDS + GRACE_SECONDS * (self.revision + 1))


def window_of(moment: datetime) -> str:
    """Return the start of the window that ``moment`` lies in, as in ``2026-03-01T12:34:00Z``."""
    started = int(moment.timestamp()) // WINDOW_SECONDS * WINDOW_SECONDS
    return datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def window_task_of(start: str, revision: int) -> str:
    """Return the id of the task that reports this revision of the window."""
    return derive("window", start, str(revision), "due task")


def is_live(journey: Journey) -> bool:
    """Whether more of the order's story is to be expected."""
    return not journey.ended
