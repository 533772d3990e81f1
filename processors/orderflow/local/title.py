"""The name under which a forked process shows in ``ps`` and ``top``. Where it cannot be set, nothing is lost."""

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_NAME: Final = 15
_ARGUMENTS_START: Final = 47
"""Of the fields of /proc/PID/stat, counted from 0: where the command line stands in memory; its end follows."""

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_room: list[tuple[int, int]] = []


def remember_room() -> None:
    """Find out where this process's command line stands; its children's titles go there."""
    with suppress(OSError, ValueError, IndexError):
        fields = _fields(Path("/proc/self/stat").read_text(encoding="utf-8"))
        start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_START + 1])
        if 0 < start < end:
            _room[:] = [(start, end)]


def set_title(words: Sequence[str]) -> None:
    """Show ``words`` as this process's command line, as far as there is room."""
    if _libc is None:
        return
    # At most 15 characters: the words after the program's own name tell more.
    _libc.prctl(_PR_SET_NAME, " ".join(words[1:3]).encode()[:15])
    for start, end in _room:
        text = "\0".join(words).encode()[: end - start - 1]
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def _fields(stat: str) -> list[str]:
    # The second field is the program's name in brackets, which may itself have blanks and brackets.
    name_end = stat.rindex(")")
    return ["", "", *stat[name_end + 2 :].split()]
