"""The logs of a system that runs for weeks: each file is bounded, and keeps its newest part.

Every process has its file open for appending, and is not asked to open another one. So what is in a file that has grown
too long is copied beside it, in place of what was copied last, and the file begins anew. What a process writes between
the end of the copy and that moment, microseconds later, is in neither.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

LONGEST: Final = 64 * 1024 * 1024
"""Bytes; with the copy, twice that. An order leaves 1 to 2 kB in each: these are the last 30,000 to 60,000 orders."""
LOOKED_AT_EVERY: Final = 30.0
"""Seconds."""


async def bound(folder: Path, say: Callable[[str], None]) -> None:
    """Keep every log in ``folder`` bounded, until cancelled."""
    while True:
        await asyncio.sleep(LOOKED_AT_EVERY)
        try:
            await asyncio.to_thread(begin_anew, folder, LONGEST)
        except OSError as error:
            say(f"the logs in {folder} cannot be shortened: {error.strerror or error}")


def begin_anew(folder: Path, longest: int) -> None:
    """Move what is in logs of more than ``longest`` bytes to a file beside each.

    Raises:
        OSError: the disk is full, say.
    """
    for log in sorted(folder.glob("*.log")):
        if log.stat().st_size > longest:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            with log.open("r+b") as file:
                file.truncate(0)
