"""What must be true when a timer fires: its request is out, and what stood in its reply topics by then is read.

A deadline that fires too early does no lasting harm: the order asks again, or gives up a step that had succeeded and
undoes it. So nothing in the databases tells of it afterwards; it has to be seen when it happens.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from orderflow.runtime.broker import OutboxRow, partition_of
from orderflow.simulation.store import Store
from orderflow.simulation.topics import Topics
from orderflow.simulation.virtual_time import START

_TIMERS = "SELECT body, created_at FROM tasks WHERE kind = 'timer' AND status = 'done' AND key = ?"
_UNPUBLISHED = "SELECT 1 FROM outbox WHERE event_id = ? AND published_at IS NULL"
_RECORDED = 'SELECT "offset" FROM consumed_offsets WHERE topic = ? AND partition = ?'
_bodies = msgspec.json.Decoder(dict[str, Any])


def too_early(store: Store, topics: Topics, context: str, fired: OutboxRow, *, clocks_agree: bool) -> Iterator[str]:
    """Yield what the timer that has just sent ``fired`` should have waited for.

    Args:
        clocks_agree: whether the moment at which it came due can be told.
    """
    for raw, created_at in store.peek(context, _TIMERS, fired.key):
        assert isinstance(raw, bytes)
        timer = _bodies.decode(raw)
        if timer["message"]["eventId"] != fired.event_id:
            continue
        request = timer.get("request")
        if request and store.peek(context, _UNPUBLISHED, request):
            yield f"a-deadline-follows-its-request: {fired.event_type} of {fired.key} fired while {request} was not out"
        if clocks_agree:
            created = datetime.fromisoformat(str(created_at)).replace(tzinfo=UTC)
            due = (created - START).total_seconds() + timer["after"]
            yield from _backlog(store, topics, context, fired, timer.get("replies", ()), due)


def _backlog(
    store: Store, topics: Topics, context: str, fired: OutboxRow, replies: list[str], due: float
) -> Iterator[str]:
    for topic in replies:
        number = partition_of(fired.key, topics.partitions)
        found = store.peek(context, _RECORDED, topic, number)
        recorded = int(str(found[0][0])) if found else -1
        for unread in topics.places.get((topic, number), [])[recorded + 1 :]:
            if unread.at < due:
                yield (
                    f"a-backlog-is-no-failure: {fired.event_type} of {fired.key} fired while {unread.event_type} of"
                    f" {unread.record.key}, published before it was due, lay unread"
                )
                return
