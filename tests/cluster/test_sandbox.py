"""Whatever ends a session, the machine is as it was before."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.addresses import Addresses, own_addresses
from cluster.sandbox import sandbox
from harness.system import eventually

SESSION = """
import sys
from pathlib import Path
from cluster.addresses import Addresses
from cluster.sandbox import sandbox
with sandbox(Addresses(int(sys.argv[1])), Path(sys.argv[2])) as box:
    box.run("mount", "-t", "tmpfs", "tmpfs", sys.argv[2])
    box.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def addresses(root: None) -> Iterator[Addresses]:
    with own_addresses() as own:
        yield own


def _traces(addresses: Addresses, folder: Path) -> list[str]:
    """Return what the machine shows of a cluster, but for its cgroup."""
    looks = (["ip", "link"], ["ip", "route"], ["ps", "-eo", "args"], ["cat", "/proc/mounts"])
    shown = (subprocess.run(look, capture_output=True, text=True, check=True).stdout for look in looks)
    lines = [line for output in shown for line in output.splitlines()]
    return [line for line in lines if addresses.name in line or str(folder) in line or "sleep 1000" in line]


def _settings() -> list[str]:
    names = ("net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
    return [Path("/proc/sys", name).read_text() for name in names]


def _cgroups(addresses: Addresses) -> list[Path]:
    return [*Path("/sys/fs/cgroup").glob(addresses.name), *Path("/sys/fs/cgroup").glob(f"*/{addresses.name}")]


def test_a_session_that_ends_leaves_nothing(addresses: Addresses, tmp_path: Path) -> None:
    before = _settings()
    with sandbox(addresses, tmp_path) as box:
        box.run("sh", "-c", "echo 1 > /proc/sys/vm/overcommit_memory")
        assert _traces(addresses, tmp_path)
        assert _settings() == before
    eventually(lambda: not _traces(addresses, tmp_path), "nothing is left")
    assert _settings() == before
    assert not _cgroups(addresses)


def test_a_session_that_is_killed_leaves_an_empty_cgroup_that_the_next_removes(
    addresses: Addresses, tmp_path: Path
) -> None:
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(addresses.slot), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"running\n"
        session.send_signal(signal.SIGKILL)
    eventually(lambda: not _traces(addresses, tmp_path), "nothing is left")
    assert _cgroups(addresses)
    with tempfile.TemporaryDirectory() as folder, sandbox(addresses, Path(folder)):
        pass
    assert not _cgroups(addresses)
