"""A whole system as `orderflow up` starts it, in a folder of its own, looked at as the person on call would.

Faults are made from outside: by signals, at the broker, at the databases, at the disk.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from harness.system import eventually
from orderflow.local.processes import PROGRAM, Program
from orderflow.local.state import ProcessStatus, Status
from orderflow.local.up import down, status, up
from orderflow.spec.deployment import Deployment, read_deployment
from servers.process import free_port

PRODUCT: Final = "sku-1"


class Whole:
    """One system.

    Args:
        folder: for its data and its manifest.
        spec: the resource's ``spec``, but for the port and the product.
        program: what its processes run, if it is not what is shipped.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any], program: Program = PROGRAM) -> None:
        self.data_dir = folder / "data"
        self.manifest = folder / "drill.yaml"
        self._program = program
        self._known: dict[str, ProcessStatus] = {}
        product = {"id": PRODUCT, "name": "Kettle", "price": "25.00", "stock": 1_000_000}
        resource = {
            "apiVersion": "orderflow.dev/v1alpha1",
            "kind": "OrderFlow",
            "metadata": {"name": "drill"},
            "spec": {"gateway": {"port": free_port()}, "products": [product], **spec},
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.manifest.write_text(yaml.safe_dump(resource))

    def up(self) -> None:
        """Start it, for the first time or again, and return when everything is ready."""
        up(self.manifest, self.data_dir, detach=True, program=self._program)

    def down(self) -> None:
        """Stop it in an orderly way."""
        down(self.data_dir)

    @property
    def deployment(self) -> Deployment:
        """Where everything is. Ports change with each start."""
        return read_deployment(self.data_dir / "run.json")

    def orderflow(self, *arguments: str) -> str:
        """Return what a command of ours prints, whatever its exit status."""
        command = [sys.executable, "-m", "orderflow.cli", *arguments, "--data-dir", str(self.data_dir)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def verified(self) -> dict[str, Any]:
        """Return the report of ``orderflow verify``."""
        report: dict[str, Any] = json.loads(self.orderflow("verify", "--json"))
        return report

    # Processes

    def status(self) -> Status:
        """Return what the supervisor says of all processes."""
        return status(self.data_dir)

    def process(self, name: str) -> ProcessStatus:
        """Return what the supervisor says of one process."""
        return next(process for process in self.status().processes if process.name == name)

    def pid(self, name: str, other_than: int | None = None) -> int:
        """Return the process id under which ``name`` is ready, as soon as it is."""

        def ready() -> int | None:
            process = self.process(name)
            return process.pid if process.ready and process.pid != other_than else None

        found: int = eventually(ready, f"{name} is ready", within=120)
        return found

    def kill(self, name: str) -> int:
        """End a process as a power cut would, and return the id it had when it is gone."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: state_of(pid) in {"", "Z"}, f"{name} is gone", within=10)
        return pid

    def said(self, name: str, event: str) -> list[dict[str, Any]]:
        """Return the lines in the log of ``name`` that tell of ``event``, in their order."""
        lines = (self.data_dir / "logs" / f"{name}.log").read_bytes().splitlines()
        found = []
        for line in lines:
            if event.encode() in line:
                try:
                    told = msgspec.json.decode(line)
                except msgspec.DecodeError:
                    continue
                if told.get("event") == event:
                    found.append(told)
        return found


def state_of(pid: int) -> str:
    """Return the kernel's letter for the state of a process, empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
