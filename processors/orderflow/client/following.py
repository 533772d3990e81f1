"""Following one order to its end, transition by transition."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from orderflow.client.answers import Entry, Timeline
from orderflow.client.failures import ClientError, RefusedByApi
from orderflow.client.pace import Pace

ORDER: Final = "order"
COMPLETED: Final = "COMPLETED"
ENDS: Final = frozenset({COMPLETED, "CANCELLED", "FAILED"})
"""How the order's own transitions end, in the audit trail's words, which are the same for every flow."""

LOOK_EVERY: Final = 0.5
"""Seconds between two looks: the API composes a timeline anew once a second."""

Look = Callable[[], Awaitable[Timeline]]


def ending_of(entries: Iterable[Entry]) -> str | None:
    """Return the word with which the order has ended, or ``None`` while it has not."""
    return next((entry.after for entry in entries if entry.context == ORDER and entry.after in ENDS), None)


class Unseen:
    """Tells which transitions have not been shown: a context that was away brings its part late."""

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()

    def of(self, timeline: Timeline) -> Iterator[Entry]:
        """Yield each transition of ``timeline`` that was in none before."""
        for entry in timeline.entries:
            known = (entry.context, entry.cause.event_id, entry.before, entry.after, entry.step, entry.recorded_at)
            if known not in self._seen:
                self._seen.add(known)
                yield entry


async def follow(look: Look, show: Callable[[Entry], None], patience: float, pace: Pace) -> str | None:
    """Show each transition once until the order has ended, and return the word of its end.

    Returns ``None`` when that takes longer than ``patience`` seconds. An API that goes away in between is waited for.

    Raises:
        ClientError: the first look finds no such order, or nobody who could know it.
    """
    unseen, deadline = Unseen(), pace.now() + patience
    timeline = await look()
    while True:
        for entry in unseen.of(timeline):
            show(entry)
        ending = ending_of(timeline.entries)
        if ending is not None or pace.now() >= deadline:
            return ending
        await pace.sleep(min(LOOK_EVERY, deadline - pace.now()))
        timeline = await _patient(look, timeline)


async def _patient(look: Look, before: Timeline) -> Timeline:
    try:
        return await look()
    except ClientError as error:
        if isinstance(error, RefusedByApi) and error.status < 500:
            raise
        return before
