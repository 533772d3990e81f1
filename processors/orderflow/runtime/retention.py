"""What may be dropped: the decision, as a pure function of a row and of what is known around it.

A row goes when its time is over **and** nothing needs it. Its time is a setting. What needs it does not depend on any:

- An order that lives, a call or a timer that is open, a message that is parked, dead or not published: everything that
  is recorded under their key stays, however old.
- A message that is still on the broker can come again (a topic read from the start, a replay): its inbox row stays for
  as long as the broker holds the message, and says that it was decided. So the inbox outlives the topics whatever the
  broker was told about retention.
- A trail is dropped as a whole or not at all: half a trail would say something else than what happened.

How far dropping has come is written down per table (``horizons``) with the first row that goes: what is missing from
before then may have been dropped, what is missing from after then is lost.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """For how long each table's rows are kept for their own sake, from when they had served."""

    inbox: timedelta
    outbox: timedelta
    tasks: timedelta
    decisions: timedelta
    audit_trail: timedelta

    def of(self, table: str) -> timedelta:
        """Return the time of one of the tables that are dropped from."""
        return {
            "processed_events": self.inbox,
            "outbox": self.outbox,
            "tasks": self.tasks,
            "decisions": self.decisions,
            "audit_trail": self.audit_trail,
        }[table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """What the decision needs to know of a row.

    Attributes:
        key: of the order, or of whatever else it is about.
        served_at: when it was processed, published, ended or recorded; ``None`` while it has not been.
        place: where its message stood on the broker, with the offset; ``None`` if it came from elsewhere.
    """

    key: str
    served_at: datetime | None
    place: tuple[Partition, int] | None = None


def may_go(row: Aged, *, until: datetime, busy: Collection[str], first: Mapping[Partition, int]) -> bool:
    """Tell whether a row may be dropped.

    Args:
        until: rows that had served before have had their time.
        busy: keys about which something is not over yet.
        first: the oldest offset that the broker still holds, by partition. A partition that nobody has told of may hold
            anything.
    """
    if row.served_at is None or row.served_at >= until or row.key in busy:
        return False
    return row.place is None or row.place[1] < first.get(row.place[0], 0)
