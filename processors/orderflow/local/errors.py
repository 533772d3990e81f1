"""What a person who brings a system up can be told."""

from pathlib import Path
from typing import Final

LONGEST: Final = 400


class LocalError(Exception):
    """The system cannot be brought up. The text is one sentence that says why and, where it helps, what to do."""


def last_line(text: str) -> str:
    """Return the line of a log that tells most of why its process ended: the last to name an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("\t", "    at "))]
    telling = [line for line in lines if "Error" in line or "ERROR" in line or "Exception" in line]
    return (telling or lines or ["it left no word in its log"])[-1][:LONGEST]


def last_line_of(log: Path) -> str:
    """Return :func:`last_line` of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            return last_line(file.read().decode(errors="replace"))
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
