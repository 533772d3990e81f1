"""What a person does to a cluster: kubectl and helm, as they are."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.programs import program

Object = Mapping[str, Any]
"""A Kubernetes object as JSON has it."""


class Refused(Exception):  # noqa: N818 - names what the cluster has said
    """A command failed; the text is what it has said."""


class Kubectl:
    """The commands of a person who may do everything in one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def __call__(self, *arguments: str | Path, given: str = "") -> str:
        """Run kubectl and return what it prints; ``given`` is its input.

        Raises:
            Refused: it failed.
        """
        return self._run("kubectl", arguments, given)

    def helm(self, *arguments: str | Path) -> str:
        """Run helm and return what it prints.

        Raises:
            Refused: it failed.
        """
        return self._run("helm", arguments, "")

    def apply(self, *objects: Object, namespace: str = "default") -> None:
        """Apply the objects, as `kubectl apply` does."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self("apply", f"--namespace={namespace}", "--filename=-", given=json.dumps(listed))

    def get(self, kind: str, name: str, namespace: str = "default") -> Any:
        """Return the object as the API server shows it."""
        return json.loads(self("get", kind, name, f"--namespace={namespace}", "--output=json"))

    def all(self, kind: str, *selection: str) -> list[Any]:
        """Return all objects of ``kind`` that ``selection``, as kubectl takes it, leaves; else of all namespaces."""
        found = self("get", kind, *(selection or ("--all-namespaces",)), "--output=json")
        items: list[Any] = json.loads(found)["items"]
        return items

    def report(self) -> str:
        """Return how the cluster stands, for whoever has to find out why a test failed."""
        parts = [
            self("get", "orderflows,pods,jobs", "--all-namespaces", "--output=wide", "--ignore-not-found"),
            self("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")[-6000:],
        ]
        for pod in self.all("pods"):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            for which in ("--previous=false", "--previous=true"):
                with suppress(Refused):
                    parts.append(
                        f"{namespace}/{name}\n{self('logs', name, f'--namespace={namespace}', '--tail=15', which)}"
                    )
        return "\n".join(parts)

    def _run(self, name: str, arguments: Sequence[str | Path], given: str) -> str:
        done = subprocess.run(
            [program(name), *arguments], input=given, capture_output=True, text=True, check=False, env=self._environment
        )
        if done.returncode != 0:
            raise Refused(f"{name} {' '.join(map(str, arguments))}\n{done.stderr}{done.stdout}")
        return done.stdout
