"""Plays the node: pods of a control plane without one become what a kubelet would make of them.

What a pod runs is played, too: a job ends well with the word that a test gives it, a processor joins its group on the
real broker under its pod's name. What an image does is told by its name.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from kubernetes import client, config
from urllib3.exceptions import HTTPError

NO_FAULT = '{"compared": 0, "fault": "", "declaration": {"reads": [], "writes": [], "topology": "x"}}'
MISSING = "registry.example/missing:1"
"""The image that cannot be pulled."""


@dataclass
class Node:
    """A node that is played.

    Attributes:
        words: by component, what its job's pod says at its end.
    """

    kubeconfig: Path
    broker: str
    words: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._api = client.CoreV1Api(config.new_client_from_config(str(self.kubeconfig)))
        self._members: dict[str, Consumer] = {}
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator["Node"]:
        """Play from here to the end of the block."""
        thread = threading.Thread(target=self._play, name="played node")
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            for member in self._members.values():
                member.close()

    def _play(self) -> None:
        while not self._stop.wait(0.2):
            with contextlib.suppress(client.ApiException, HTTPError, OSError):
                self._play_once()

    def _play_once(self) -> None:
        pods = self._api.list_pod_for_all_namespaces(label_selector="app.kubernetes.io/name=orderflow").items
        for pod in pods:
            if pod.metadata.deletion_timestamp is None and pod.status.phase == "Pending":
                self._become(pod)
        there = {pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is None}
        for name in self._members.keys() - there:
            self._members.pop(name).close()
        for member in self._members.values():
            member.poll(0)

    def _become(self, pod: Any) -> None:
        component = pod.metadata.labels["app.kubernetes.io/component"]
        context = pod.metadata.labels["orderflow.dev/context"]
        if pod.spec.containers[0].image == MISSING:
            if not pod.status.container_statuses:
                self._patch(
                    pod, "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, ready=False
                )
        elif pod.metadata.owner_references[0].kind == "Job":
            ended = {
                "exitCode": 0,
                "finishedAt": _now(),
                "message": self.words.get(component, NO_FAULT if component.endswith("-shadow") else ""),
            }
            self._patch(pod, "Succeeded", {"terminated": ended}, ready=False)
        else:
            if component == context:
                self._join(pod.metadata.name, f"{pod.metadata.namespace}-{context}")
            self._patch(pod, "Running", {"running": {"startedAt": _now()}}, ready=True)

    def _join(self, pod: str, group: str) -> None:
        settings = {"bootstrap.servers": self.broker, "group.id": group, "client.id": pod, "log_level": 2}
        self._members[pod] = Consumer(settings)
        self._members[pod].subscribe([f"{group}-commands"])

    def _patch(self, pod: Any, phase: str, state: dict[str, Any], *, ready: bool) -> None:
        container = pod.spec.containers[0]
        told = {
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": _now()}]
        status = {"phase": phase, "containerStatuses": [told], "conditions": conditions}
        self._api.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
