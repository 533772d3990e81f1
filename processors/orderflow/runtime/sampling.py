"""Which decisions are kept whole (input, prior state, decision), to be compared with what later code decides.

Whole orders are kept rather than single messages, so that a kept order can be followed from its beginning: every order
of a young database (its first messages are the ones somebody is looking at), then one in sixteen.
"""

import zlib
from dataclasses import dataclass

FIRST = 2_000
"""So many decisions are kept without choosing: about 4 MB."""
ONE_IN = 16
"""Of the orders after that: 6 % more rows, and still thousands of decisions an hour under load."""


@dataclass(slots=True)
class Sampling:
    """Counts what is kept. ``kept`` starts at what the database already holds."""

    kept: int = 0

    def wants(self, key: str) -> bool:
        """Tell whether a decision on ``key`` is to be kept."""
        if self.kept < FIRST or zlib.crc32(key.encode()) % ONE_IN == 0:
            self.kept += 1
            return True
        return False
