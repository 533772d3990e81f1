"""Which addresses a cluster uses.

All are of 198.18.0.0/15, which is set aside for benchmarks (RFC 2544): no machine has a real neighbour there. A machine
can hold sixteen clusters at once, each in a slot of its own, so that several people's tests do not meet.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SLOTS = 16
LOCKS = Path("/run/lock")


@dataclass(frozen=True)
class Addresses:
    """The addresses of the cluster in one slot."""

    slot: int

    @property
    def name(self) -> str:
        """Names what the machine knows of the cluster: interfaces and cgroups."""
        return f"orderflow{self.slot}"

    @property
    def pods(self) -> str:
        """The network that pods get their addresses from."""
        return f"198.18.{self.slot * 16}.0/21"

    @property
    def services(self) -> str:
        """The network that Services get their addresses from."""
        return f"198.19.{self.slot * 16}.0/20"

    @property
    def kubernetes(self) -> str:
        """The Service of the API server: always the first of its network."""
        return f"198.19.{self.slot * 16}.1"

    @property
    def host(self) -> str:
        """The machine, as the cluster's pods reach it."""
        return f"198.18.{self.slot * 16 + 8}.1"

    @property
    def node(self) -> str:
        """The node, as the machine reaches it."""
        return f"198.18.{self.slot * 16 + 8}.2"


@contextmanager
def own_addresses() -> Iterator[Addresses]:
    """Hold a slot that nobody else has, for as long as the block lasts or this process lives.

    Raises:
        RuntimeError: there is none.
    """
    for slot in range(SLOTS):
        handle = os.open(LOCKS / f"orderflow-cluster-{slot}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            yield Addresses(slot)
        finally:
            os.close(handle)
        return
    raise RuntimeError(f"{SLOTS} clusters run on this machine already")
