"""How far a replay has come, on standard error, for whoever waits at a terminal."""

import sys
from collections.abc import Sequence

from orderflow.runtime.replay_rows import OPEN, Part


def progress(parts: Sequence[Part]) -> None:
    """Tell once more how far the parts have come; to a terminal alone."""
    if not sys.stderr.isatty():
        return
    over = sum(part.status not in OPEN for part in parts)
    read = sum(part.report.read for part in parts)
    end = "\n" if over == len(parts) else ""
    print(f"\r{over} of {len(parts)} partitions, {read:,} messages read again", end=end, file=sys.stderr, flush=True)
