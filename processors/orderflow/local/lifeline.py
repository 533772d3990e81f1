"""No process outlives the one that started it."""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1

# Loaded here and not in the child: between fork and exec there is no time to load anything.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel end this process when its parent ends, however that does. Elsewhere than on Linux: do nothing.

    Args:
        parent: the process id of the parent; if that has ended already, so does this process.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
