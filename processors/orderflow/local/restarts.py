"""When a process that has ended is started again.

At once, almost, if it had been well: a killed processor's partitions wait for nobody. Ever later if it ends again and
again, so that one that cannot run leaves the machine to the others.
"""

from dataclasses import dataclass
from typing import Final

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 15.0
STABLE: Final = 30.0
"""Seconds after which a process counts as having been well."""


@dataclass(frozen=True)
class Restarts:
    """How often a process has ended: ``total``, and ``in_a_row`` without having been well in between."""

    total: int = 0
    in_a_row: int = 0

    def after(self, ran_for: float) -> "Restarts":
        """Return what holds when the process has ended once more, after so many seconds."""
        return Restarts(self.total + 1, 1 if ran_for >= STABLE else self.in_a_row + 1)

    @property
    def delay(self) -> float:
        """Seconds until it is started again."""
        # Beyond twenty doublings every delay is the longest.
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(self.in_a_row - 1, 0), 20))
