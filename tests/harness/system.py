"""A whole system for a test: one process per worker over a real broker, each of which a test can kill, freeze or add.

It starts the shipped command line and nothing else; what a test sees of the system it sees as a user would, through
the order API, the topics and the databases.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

import msgspec
from sqlalchemy import Engine

from harness.broker import create_topics
from orderflow.assembly import all_contexts, prepare_databases
from orderflow.contracts.topics import TOPICS, dead_letter_topic
from orderflow.local.ports import free_ports
from orderflow.runtime.faust_app import changelog_topics
from orderflow.runtime.share import SHARE_VARIABLE
from orderflow.spec.deployment import Deployment, process_names, resolve
from orderflow.spec.resource import CONTEXTS, OrderFlow

ENDED: Final = frozenset({"Completed", "Cancelled", "FULFILLED", "CANCELLED", "Shipped", "Failed"})
"""The last words of the four built-in flows. Under ``order-to-delivery`` nothing stays Shipped."""


LONGEST_LOOK: Final = 10.0
"""Seconds. What a look takes beyond that, the machine was doing something else."""


def eventually(look: Callable[[], Any], what: str, within: float = 30.0) -> Any:
    """Return the first truthy answer of ``look``; fail, naming ``what``, if there is none in time.

    Time in which this process too was kept from running does not count.
    """
    waited, last = 0.0, time.monotonic()
    while True:
        answer = look()
        if answer:
            return answer
        if waited > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.05)
        now = time.monotonic()
        waited, last = waited + min(now - last, LONGEST_LOOK), now


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class System:
    """One deployment with its processes."""

    def __init__(self, resource: OrderFlow, folder: Path, broker: str) -> None:
        prefix = f"{uuid4().hex[:8]}-"
        spec = resource.spec
        names = process_names(resource)
        gateway, *others = free_ports(len(names) + 1)
        spec = msgspec.structs.replace(
            spec,
            broker=msgspec.structs.replace(spec.broker, topic_prefix=prefix),
            gateway=msgspec.structs.replace(spec.gateway, port=gateway),
        )
        resource = msgspec.structs.replace(resource, spec=spec)
        ports = dict(zip(names, others, strict=True))
        self.deployment: Deployment = resolve(resource, data_dir=folder, broker=broker, ports=ports, revision="test")
        self.folder = folder
        self.prefix = prefix
        self.file = folder / "run.json"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._write()
        changelogs = [topic for context in all_contexts(resource).values() for topic in changelog_topics(context)]
        topics = [*TOPICS, *map(dead_letter_topic, TOPICS), *changelogs]
        create_topics(broker, [prefix + topic for topic in topics], spec.broker.partitions)
        self.contexts = list(prepare_databases(self.deployment))

    def _write(self) -> None:
        self.file.write_bytes(msgspec.json.encode(self.deployment))

    # Processes

    def start(self, *names: str) -> None:
        """Start the named processes and wait until each is ready."""
        for name in names:
            self._spawn(name)
        for name in names:
            self.wait_ready(name)

    def _spawn(self, name: str, file: Path | None = None, environment: Mapping[str, str] = NOTHING) -> None:
        context, kind = name.rsplit("-", 1)
        command = "api" if kind == "api" else "run"
        arguments = [command, context, "--deployment", str(file or self.file), "--instance", name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "orderflow.cli", *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
            )

    def add_worker(self, name: str) -> None:
        """Start one more worker than the resource names: ``payment-1``."""
        ports = {**self.deployment.ports, name: free_ports(1)[0]}
        self.deployment = msgspec.structs.replace(self.deployment, ports=ports)
        self._write()
        self.start(name)

    def add_worker_of(self, revision: str, name: str, share: Path) -> None:
        """Start one more worker, of another revision of the code, that may have what the file ``share`` says."""
        ports = {**self.deployment.ports, name: free_ports(1)[0]}
        self.deployment = msgspec.structs.replace(self.deployment, ports=ports)
        file = self.folder / f"{name}.json"
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(self.deployment, revision=revision)))
        self._spawn(name, file, {SHARE_VARIABLE: str(share)})
        self.wait_ready(name)

    def wait_ready(self, name: str, within: float = 90.0) -> None:
        """Wait until the process says that it is ready."""

        def ready() -> bool:
            process = self.processes[name]
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with status {process.returncode}:\n{self.log(name)[-3000:]}")
            return self.get(f"http://127.0.0.1:{self.deployment.ports[name]}/health/ready")[0] == 200

        eventually(ready, f"{name} is ready; its log ends\n{self.log(name)[-2000:]}", within)

    def log(self, name: str) -> str:
        """Return what the process has logged."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process in its tracks for as long as the block lasts."""
        pid = self.processes[name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop every process in an orderly way, and insist where that takes too long."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self.processes.clear()

    # What a user sees

    def get(self, url: str) -> tuple[int, Any]:
        """Return the status and the decoded body of a GET; status 0 where nobody answers."""
        return self.request("GET", url)

    def request(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status and the decoded body of a request."""
        target = url if url.startswith("http") else self.deployment.gateway + url
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            target, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                content = response.read()
                return response.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
            return error.code, json.loads(content) if content else None
        except (urllib.error.URLError, OSError):
            return 0, None

    def place(self, flow: str, *items: tuple[str, int], customer: str = "customer-1", **more: Any) -> str:
        """Place an order and return its id."""
        body = {
            "customerId": customer,
            "customerName": "A Name",
            "items": [{"productId": product, "quantity": quantity} for product, quantity in items],
            "flow": flow,
            **more,
        }
        status, answer = self.request("POST", "/api/orders", body)
        assert status == 200, answer
        order_id: str = answer["orderId"]
        return order_id

    def order(self, order_id: str) -> dict[str, Any]:
        """Return the order as the API shows it."""
        status, answer = self.get(f"/api/orders/{order_id}")
        assert status == 200, answer
        shown: dict[str, Any] = answer
        return shown

    def end_of(self, order_id: str, within: float = 60.0) -> dict[str, Any]:
        """Wait for the order's end and return the order."""

        def look() -> dict[str, Any] | None:
            order = self.order(order_id)
            return order if order["status"] in ENDED else None

        order: dict[str, Any] = eventually(look, f"order {order_id} ends", within)
        return order

    # What lies beneath

    def engine(self, context: str) -> Engine:
        """Return an engine on the context's database; the caller disposes of it."""
        from orderflow.runtime.database import open_database

        return open_database(self.deployment.database_url(context))

    def rows(self, context: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the context's database."""
        from sqlalchemy import text

        from orderflow.runtime.database import reading

        engine = self.engine(context)
        try:
            with reading(engine) as connection:
                return [tuple(row) for row in connection.execute(text(query), values)]
        finally:
            engine.dispose()


def everything(resource: OrderFlow) -> list[str]:
    """Return the names of all processes that the resource asks for."""
    workers = [
        f"{context}-{number}" for context in CONTEXTS for number in range(resource.spec.processors.of(context).replicas)
    ]
    return [*workers, *(f"{context}-api" for context in CONTEXTS)]
