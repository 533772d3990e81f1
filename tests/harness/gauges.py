"""The metrics of all processors, looked at once a second for as long as a drill lasts.

A counter begins anew with its process: what is told here is the sum over all that have lived. What one has counted in
its last second before it was killed is not in it.
"""

import re
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from orderflow.local.errors import LocalError
from orderflow.local.state import ProcessStatus, Status

EVERY: Final = 1.0
_LINE: Final = re.compile(r"^(orderflow_\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Gauges:
    """Looks at the metrics from ``with`` to the end of its block."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_and_look, name="gauges")
        self._last: dict[tuple[str, int, str, str], float] = {}
        self.peaks: dict[tuple[str, str], float] = defaultdict(float)
        """Per process and metric the most that its series came to together."""
        self.complaints: dict[str, set[str]] = defaultdict(set)
        """Per process what was in the way of its being ready, while it was there."""
        self.stalled = 0.0
        """Seconds in which not even this thread could go on: the machine was busy with something else."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None:
            self._look()

    def total(self, metric: str, label: str = "", process: str = "") -> int:
        """Return a counter over all lives of all processes, or of those whose name begins so, with a label."""
        return round(
            sum(
                value
                for (name, _, found, labels), value in self._last.items()
                if found == metric and label in labels and name.startswith(process)
            )
        )

    def peak(self, metric: str, process: str = "") -> int:
        """Return the most that a gauge of one process came to, summed over its series."""
        found = [value for (name, at), value in self.peaks.items() if at == metric and name.startswith(process)]
        return round(max(found, default=0))

    def _look_and_look(self) -> None:
        while True:
            slept = time.monotonic()
            if self._stop.wait(EVERY):
                return
            late = time.monotonic() - slept - EVERY
            self.stalled += late if late > EVERY else 0.0
            self._look()

    def _look(self) -> None:
        try:
            processes = self._status().processes
        except LocalError:
            return
        for process in processes:
            if process.detail and process.pid:
                self.complaints[process.name].add(process.detail)
            if process.kind == "processor" and process.pid and process.port and process.state != "starting":
                self._scrape(process)

    def _scrape(self, process: ProcessStatus) -> None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=1) as answer:
                page = answer.read().decode()
        except OSError:
            return
        sums: dict[str, float] = defaultdict(float)
        for name, labels, value in _LINE.findall(page):
            self._last[process.name, process.pid or 0, name, labels] = float(value)
            sums[name] += float(value)
        for name, total in sums.items():
            self.peaks[process.name, name] = max(self.peaks[process.name, name], total)
