"""A cluster's programs as child processes, each with a log of its own, none of which outlives the tests."""

import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 90.0
"""Seconds for one program to be up: two at most where nothing else runs."""


class Daemon:
    """One program that runs in the background.

    Raises:
        RuntimeError: it ended, or was not up in time; the text ends with its log.
    """

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self._command = ["setpriv", "--pdeathsig=KILL", "--", *map(str, command)]
        self._log = folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again."""
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the tests, which then stop their cluster in order.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_until(self, up: Callable[[], bool]) -> None:
        """Wait until ``up`` says yes."""
        deadline = time.monotonic() + PATIENCE
        while not up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def stop(self, patience: float = 10.0) -> None:
        """Ask it to end, and insist after ``patience`` seconds."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would, and what it has started in its session."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # What entered a namespace is a child of what brought it there.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def log(self) -> str:
        """Return what it has written."""
        return self._log.read_text(errors="replace")


def answers(url: str) -> bool:
    """Say whether a GET of ``url`` is answered with 200. Nobody's certificate is looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
