"""Where each partition stands, in memory: which record is the next to be decided.

The ledger in the database is the truth; a :class:`Position` is what this process last read from it or wrote to it.
Records arrive from a fetcher that may repeat, or (after a rebalance) have dropped some. Per partition exactly one
offset is next. At or below the ledger is skipped; a jump ahead means that something was lost on the way, and the
partition is rewound, once: if the same jump comes again, the offsets in between do not exist.
"""

from dataclasses import dataclass
from enum import Enum


class Place(Enum):
    """Where a record stands relative to what was recorded."""

    NEXT = "next"
    RECORDED = "recorded"
    """At or below the ledger: decided before, or the topic is not the one that was read before."""
    AHEAD = "ahead"
    """Something between the ledger and this record has not arrived: rewind, and drop it meanwhile."""


@dataclass(slots=True)
class Position:
    """One partition's place.

    Attributes:
        recorded: the offset the ledger holds; -1 before the first.
        careful_until: up to this offset, records are decided one by one with the attempt recorded first.
        begun: the offset whose attempt this process has recorded last. It has outlived that attempt.
        verify: the event id that the ledger remembers at ``recorded``, until it was seen there again.
    """

    recorded: int
    careful_until: int = -1
    begun: int = -1
    verify: str | None = None
    _rewound: bool = False
    _last_ahead: int = -1

    @property
    def next(self) -> int:
        """The offset of the next record to decide."""
        return self.recorded + 1

    def place(self, offset: int, after: int | None = None) -> Place:
        """Tell where ``offset`` stands, given that records up to ``after`` are already in the batch being made.

        After a rewind, records that were under way before it still come in; their offsets rise. The first that does
        not rise was read after the rewind: if it too is ahead, the offsets between do not exist.
        """
        expected = self.next if after is None else after + 1
        if offset == expected:
            return Place.NEXT
        if offset < expected:
            return Place.RECORDED
        if self._rewound and after is None and offset <= self._last_ahead:
            return Place.NEXT
        self._last_ahead = max(offset, self._last_ahead)
        return Place.AHEAD

    def rewind(self) -> bool:
        """Tell whether the partition has to be read again from the next offset, which is asked for once."""
        if self._rewound:
            return False
        self._rewound = True
        return True

    def advance(self, offset: int) -> None:
        """Take over what the ledger now says."""
        self.recorded = offset
        self.verify = None
        self._rewound = False
        self._last_ahead = -1

    @property
    def is_careful(self) -> bool:
        """Whether an unclean stop makes this partition go one record at a time for now."""
        return self.recorded < self.careful_until
