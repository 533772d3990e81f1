"""Decides a message in a process of its own, to see whether that lives through it.

Why a process has ended nobody can tell afterwards: its message may have killed it, or somebody else. So a message under
suspicion is decided in a child first, without the database and without any effect, while this process looks on. What
kills machines, pods and processes takes the witness along, and nobody is blamed. Only what ends the child alone, each
time, is the message's doing.

A child that neither ends nor works (a fork takes along what other threads had locked) has shown nothing.
"""

import gc
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

TIMES: Final = 3
"""Children that have to end: the kernel can choose one by chance when it needs memory."""
CPU_SECONDS: Final = 5
"""What a child may use up: a decision takes less than a millisecond."""
MEMORY: Final = 256 * 1024 * 1024
"""Bytes that a child may take besides what there is: a decision takes some kilobytes, and what takes this much is
likely to have a whole container killed, witness and all."""
PATIENCE: Final = 10.0
LOOK: Final = 0.002
"""Seconds until a child has shown nothing, in looks, so that a machine that stood still has not waited."""

_OUT_OF_MEMORY, _ENDED = 1, 2


def ending_of(work: Callable[[], object]) -> str:
    """Do ``work`` in children and return what ended each of them; nothing if one lived through it.

    What ``work`` raises ends no process, unless it is no :class:`Exception` at all.
    """
    ending = ""
    for _ in range(TIMES):
        ending = _ending_of_one(work)
        if not ending:
            break
    return ending


def _ending_of_one(work: Callable[[], object]) -> str:
    with warnings.catch_warnings():
        # Python warns of forking beside threads: the child needs nothing that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            child = os.fork()
        except OSError:
            return ""
    if child == 0:
        _perform(work)
    return _word_for(os.waitstatus_to_exitcode(_wait(child)))


def _perform(work: Callable[[], object]) -> NoReturn:
    status = _ENDED
    try:
        gc.disable()
        _limit()
        work()
        status = 0
    except MemoryError:
        status = _OUT_OF_MEMORY
    except Exception:  # that it cannot be decided is for the decision proper to find
        status = 0
    finally:
        os._exit(status)


def _limit() -> None:
    for what, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0)):
        _lower(what, most)
    with suppress(OSError):  # where there is no /proc there is no such limit either
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)


def _lower(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _wait(child: int) -> int:
    """Return the child's status; one that has shown nothing is ended, and has none."""
    for _ in range(int(PATIENCE / LOOK)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(LOOK)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 0


def _word_for(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return {0: "", _OUT_OF_MEMORY: "out of memory"}.get(status, "an exit")
