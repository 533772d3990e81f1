"""A machine inside the machine for a node: its own processes, mounts and network, all gone with one process.

A node mounts, makes interfaces, writes packet filters and leaves processes behind that outlive whoever started them.
Here all of it happens in namespaces that the kernel takes away with their first process, which ends with the tests
however these end. What the machine itself gets to see is one interface, two routes and one cgroup.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cluster.addresses import Addresses
from cluster.daemons import Daemon

SYSCTLS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet sets for the whole machine where it finds another value: here it finds these, and sets nothing."""

_CGROUPS: Final = Path("/sys/fs/cgroup")

_SETTLE: Final = 15.0
"""Seconds for the processes of a sandbox that was killed to be gone: their memory is given back first."""


def _first_process() -> str:
    """Return the script that furnishes the sandbox and then stays, as the parent of all that is orphaned in it."""
    covered = [
        f"echo {value} > /run/sysctls/{name.replace('/', '.')}; "
        f"mount --bind /run/sysctls/{name.replace('/', '.')} /proc/sys/{name}"
        for name, value in SYSCTLS.items()
    ]
    lines = [
        "mount --make-rshared /",
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "mkdir /run/sysctls",
        *covered,
        "ip link set lo up",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "touch /run/furnished",
        "exec env --ignore-signal=CHLD sleep infinity",
    ]
    return "\n".join(lines)


class Sandbox:
    """The namespaces. :meth:`inside` makes a command run there."""

    def __init__(self, addresses: Addresses, folder: Path) -> None:
        kinds = ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        self._daemon = Daemon("sandbox", ["unshare", *kinds, "--", "sh", "-euc", _first_process()], folder)
        try:
            self._daemon.wait_until(self._is_furnished)
            self._link(addresses)
        except BaseException:
            self.end()
            raise

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command that runs ``command`` in the sandbox."""
        return ["nsenter", f"--target={self._first()}", "--net", "--mount", "--pid", "--", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Run a command in the sandbox and return what it prints.

        Raises:
            RuntimeError: it failed.
        """
        return _run(*self.inside(command))

    def end(self) -> None:
        """End everything in it, at once."""
        self._daemon.kill()

    def _first(self) -> str:
        children = Path(f"/proc/{self._daemon.pid}/task/{self._daemon.pid}/children")
        return children.read_text().strip() if children.exists() else ""

    def _is_furnished(self) -> bool:
        first = self._first()
        return first != "" and Path(f"/proc/{first}/root/run/furnished").exists()

    def _link(self, addresses: Addresses) -> None:
        """Connect machine and sandbox: the machine reaches pods and Services, and these the machine alone."""
        _run("ip", "link", "add", addresses.name, "type", "veth", "peer", "name", "machine", "netns", self._first())
        _run("ip", "address", "add", f"{addresses.host}/30", "dev", addresses.name)
        _run("ip", "link", "set", addresses.name, "up")
        self.run("ip", "address", "add", f"{addresses.node}/30", "dev", "machine")
        self.run("ip", "link", "set", "machine", "up")
        for network in (addresses.pods, addresses.services):
            _run("ip", "route", "add", network, "via", addresses.node)


@contextlib.contextmanager
def sandbox(addresses: Addresses, folder: Path) -> Iterator[Sandbox]:
    """Have a sandbox for as long as the block lasts, with a cgroup of the addresses' name."""
    _remove_cgroups(addresses.name)
    _make_cgroups(addresses.name)
    try:
        made = Sandbox(addresses, folder)
        try:
            yield made
        finally:
            made.end()
    finally:
        _remove_cgroups(addresses.name)


def _hierarchies() -> list[Path]:
    """Return the roots of the machine's cgroups: one, or one for each controller on older kernels."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _make_cgroups(name: str) -> None:
    for root in _hierarchies():
        (root / name).mkdir()


def _remove_cgroups(name: str) -> None:
    """Remove the cgroup with all below it; what was in it may need a moment to be gone."""
    deadline = time.monotonic() + _SETTLE
    for root in _hierarchies():
        for folder, _, _ in os.walk(root / name, topdown=False):
            _remove_cgroup(Path(folder), deadline)


def _remove_cgroup(folder: Path, deadline: float) -> None:
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
