"""A server as a child process: unprivileged, on a port of its own, gone when the tests are."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from pwd import getpwnam
from signal import SIGTERM, Signals

from orderflow.local.ports import free_ports

PATIENCE = 30.0
"""Seconds for a server to start or stop, on a machine that is busy with other tests."""


class ServerMissing(Exception):  # noqa: N818 - names a state of the machine
    """A server that the tests need is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed: run tests/install-servers.sh as root, or install it yourself")


def program(name: str, package: str, places: str = "") -> str:
    """Return the path of the newest ``name`` under the pattern ``places``, or of the one on the path.

    Raises:
        ServerMissing: there is none.
    """
    versions = sorted(Path("/").glob(f"{places}/{name}"), key=_version) if places else []
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise ServerMissing(package)
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no outgoing connection will take."""
    return free_ports(1)[0]


def data_folder(prefix: str) -> Path:
    """Create a folder that belongs to whom the servers run as."""
    folder = Path(tempfile.mkdtemp(prefix=f"orderflow-{prefix}-"))
    if os.geteuid() == 0:
        user = getpwnam(_unprivileged())
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def as_server(command: Sequence[str], farewell: Signals = SIGTERM) -> list[str]:
    """Return the command that runs ``command`` unprivileged, and with ``farewell`` if the tests are killed."""
    identity = [f"--reuid={_unprivileged()}", f"--regid={_unprivileged_group()}", "--clear-groups"]
    return ["setpriv", f"--pdeathsig={farewell.name}", *(identity if os.geteuid() == 0 else []), "--", *command]


class Server:
    """A running server. ``is_up`` says whether it answers yet."""

    def __init__(
        self, command: Sequence[str], folder: Path, is_up: Callable[[], bool], farewell: Signals = SIGTERM
    ) -> None:
        self._farewell = farewell
        self._log = folder / "server.log"
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C goes to the tests, which then stop their servers in order.
            self._process = subprocess.Popen(
                as_server(command, farewell), cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until(is_up)
        except BaseException:
            self.kill()
            raise

    def stop(self, farewell: Signals | None = None) -> None:
        """Let the server finish what it does, or do what another signal tells it, and wait for its end."""
        self._process.send_signal(farewell or self._farewell)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End the server at once."""
        self._process.kill()
        self._process.wait()

    def _wait_until(self, is_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a server did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.02)


def _version(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]


def _unprivileged() -> str:
    try:
        return getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def _unprivileged_group() -> str:
    return str(getpwnam(_unprivileged()).pw_gid)
