"""Every processor is killed once, with 500 orders in flight, and nothing is lost or doubled.

The system is the one that `orderflow up` starts; what restarts the killed processes is its supervisor.
"""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.system import eventually
from servers.process import free_port

MANIFEST = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata:
  name: killed
spec:
  gateway:
    port: {port}
  products:
    - {{id: sku-1, name: Kettle, price: "25.00", stock: 1000000}}
  defaultFlow: unhurried
  flows:
    - name: unhurried
      steps:
        - {{name: payment, deadlineSeconds: 60}}
        - {{name: inventory}}
        - {{name: fulfillment, deadlineSeconds: 60}}
  simulation:
    card: {{latencySeconds: [6, 8]}}
    carrier: {{latencySeconds: [6, 8], errorRate: 0.15}}
"""
# The outside takes this long so that orders stay in flight for as long as six kills and six restarts take.
IN_FLIGHT = 500
CONTEXTS = ("order", "payment", "inventory", "fulfillment", "notification", "analytics")

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


class Running:
    """A system in a data directory, by the command line alone."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.data_dir = folder / "data"
        self.manifest = folder / "killed.yaml"
        self.manifest.write_text(MANIFEST.format(port=self.port))
        self._numbers = itertools.count()

    def orderflow(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orderflow.cli", *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pid(self, name: str) -> int | None:
        status = json.loads(self.orderflow("status", "--json", check=False))
        return {process["name"]: process["pid"] for process in status["processes"] if process["ready"]}.get(name)

    def place(self) -> None:
        """Place an order, asking again under its key where the API says so."""
        number = next(self._numbers)
        body = {"customerId": f"c-{number}", "items": [{"productId": "sku-1", "quantity": 1}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/orders",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Idempotency-Key": f"order-{number}"},
        )
        eventually(lambda: self._ask(request), f"order {number} is taken", within=60)

    def _ask(self, request: urllib.request.Request) -> bool:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status: int = answer.status
        except urllib.error.HTTPError as error:
            error.close()
            status = error.code
        assert status in {200, 409, 503}
        return status == 200

    @property
    def placed(self) -> int:
        return self._count("1 = 1")

    def in_flight(self) -> int:
        return self._count("phase NOT IN ('completed', 'cancelled')")

    def _count(self, condition: str) -> int:
        file = self.data_dir / "databases" / "order.sqlite"
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)
        try:
            [(number,)] = connection.execute(f"SELECT count(*) FROM orders WHERE {condition}").fetchall()
        finally:
            connection.close()
        return int(number)

    def completed(self) -> int:
        return self._count("status = 'Completed'")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    system = Running(tmp_path)
    system.orderflow("up", "-f", str(system.manifest), "--detach")
    try:
        yield system
    finally:
        system.orderflow("down")


def keep_in_flight(system: Running, enough: int, stop: threading.Event, failures: list[BaseException]) -> None:
    """Place orders until told to stop, so that about ``enough`` are in flight."""
    with ThreadPoolExecutor(6) as customers:
        while not stop.is_set() and not failures:
            missing = enough - system.in_flight()
            placings = [customers.submit(system.place) for _ in range(max(0, min(60, missing)))]
            failures += [error for placing in placings if (error := placing.exception()) is not None]
            stop.wait(0.05)


def test_every_processor_is_killed_once_with_500_orders_in_flight(running: Running) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    customers = threading.Thread(target=keep_in_flight, args=(running, IN_FLIGHT + 150, stop, failures))
    customers.start()
    try:
        for context in CONTEXTS:
            name = f"{context}-0"
            kill_one(running, name, failures)
    finally:
        stop.set()
        customers.join()
    assert failures == []
    eventually(lambda: running.in_flight() == 0, "every order comes to its end", within=300)
    assert running.completed() >= 0.9 * running.placed, f"{running.completed()} of {running.placed} completed"
    eventually(lambda: verified(running)["ok"], "the verification is clean", within=60)


def kill_one(running: Running, name: str, failures: list[BaseException]) -> None:
    pid = eventually(lambda: running.pid(name), f"{name} is ready", within=60)

    def enough() -> Any:
        assert failures == []
        return running.in_flight() >= IN_FLIGHT

    eventually(enough, f"{IN_FLIGHT} orders are in flight before {name} is killed", within=300)
    in_flight = running.in_flight()
    os.kill(pid, signal.SIGKILL)
    assert in_flight >= IN_FLIGHT
    eventually(lambda: is_gone(pid), f"{name} is gone", within=10)
    eventually(lambda: running.pid(name) not in {None, pid}, f"{name} is back", within=60)


def is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def verified(running: Running) -> Any:
    report = json.loads(running.orderflow("verify", "--json", check=False))
    if not report["ok"]:
        print(running.orderflow("verify", check=False))
    return report
