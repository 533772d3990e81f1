"""The operator as it ships, as a process beside a control plane; and what a person does to see what it has done."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.kubectl import Kubectl, Refused
from orderflow.local.ports import free_ports

PATIENCE = 60.0


def eventually(look: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Return what ``look`` returns as soon as it is true; a cluster that refuses meanwhile is asked again."""
    deadline = time.monotonic() + within
    while True:
        try:
            if found := look():
                return found
        except Refused:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise AssertionError(f"never came about: {look.__doc__ or look.__qualname__}")
        time.sleep(0.1)


class OperatorProcess:
    """One operator, which can be ended and begun again."""

    def __init__(self, kubeconfig: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), **environment}
        self._started = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, until: str = "leading") -> None:
        """Start it and wait until it leads, or says otherwise that it is where it is to be."""
        (self.port,) = free_ports(1)
        self._started += 1
        environment = {
            **self._environment,
            "POD_NAME": f"operator-{id(self)}-{self._started}",
            "POD_NAMESPACE": "default",
            "ORDERFLOW_OPERATOR_PORT": str(self.port),
            "ORDERFLOW_OPERATOR_IMAGE": "registry.example/orderflow:1",
        }
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "orderflow_operator"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        eventually(lambda: f'"{until}"' in self.read("/health/ready"))

    def read(self, path: str) -> str:
        """Return what its server answers; nothing while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
        except OSError:
            return ""
        return text

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all label values that are not given."""
        total = 0.0
        for line in self.read("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{one}"' in series for key, one in labels.items()):
                total += float(value)
        return total

    def stop(self) -> None:
        """Tell it to end, and wait for it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        """End it without a warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)


class Shop:
    """One OrderFlow resource in a namespace of its own."""

    def __init__(self, kubectl: Kubectl, namespace: str, address: str, **spec: Any) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.spec: dict[str, Any] = {
            "broker": {"address": address, "partitions": 2, "topicPrefix": f"{namespace}-"},
            "database": {"url": "postgresql://me@nowhere/orderflow_{context}"},
            **spec,
        }
        kubectl("create", "namespace", namespace)

    def apply(self, **changes: Any) -> None:
        """Apply the resource with what is changed in its spec."""
        self.spec |= changes
        manifest = {
            "apiVersion": "orderflow.dev/v1alpha1",
            "kind": "OrderFlow",
            "metadata": {"name": "shop"},
            "spec": self.spec,
        }
        self.kubectl.apply(manifest, namespace=self.namespace)

    def body(self) -> Any:
        """Return the resource."""
        return self.kubectl.get("orderflow", "shop", self.namespace)

    def status(self) -> Any:
        """Return its status."""
        return self.body().get("status", {})

    def condition(self, kind: str) -> Any:
        """Return a condition, if it is about what was applied last."""
        body = self.body()
        found = {one["type"]: one for one in body.get("status", {}).get("conditions", ())}.get(kind, {})
        return found if found.get("observedGeneration") == body["metadata"]["generation"] else {}

    def is_ready(self) -> bool:
        """The shop is ready."""
        return bool(self.condition("Ready").get("status") == "True")

    def all(self, kind: str) -> dict[str, Any]:
        """Return the objects of a kind in the namespace, by name."""
        return {one["metadata"]["name"]: one for one in self.kubectl.all(kind, f"--namespace={self.namespace}")}

    def events(self) -> set[str]:
        """Return the reasons of the events about the resource."""
        return {one["reason"] for one in self.all("events").values() if one["involvedObject"]["kind"] == "OrderFlow"}

    def delete(self) -> None:
        """Delete the resource, and wait until it is gone."""
        space = f"--namespace={self.namespace}"
        self.kubectl("delete", "orderflow", "shop", space, "--ignore-not-found", "--timeout=60s")
