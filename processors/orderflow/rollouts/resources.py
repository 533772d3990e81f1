"""An OrderFlow resource in a cluster: read, annotated, followed. The one place here that knows Kubernetes."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from orderflow.client.failures import Failure
from orderflow.spec.status import Status

GROUP: Final = "orderflow.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "orderflows"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A resource as far as it matters here."""

    name: str
    namespace: str
    generation: int
    paused: bool
    status: Status


class Resources:
    """The resources of one namespace: the one that is named, or else the context's own.

    Raises:
        Failure: Kubernetes' client is not installed, or no cluster is configured.
    """

    def __init__(self, namespace: str | None = None) -> None:
        try:
            from kubernetes import client, config  # noqa: PLC0415 - only those who roll out have it
        except ImportError:
            raise Failure("this needs Kubernetes' client: pip install 'orderflow[operator]'") from None
        self._refused = client.ApiException
        try:
            configured = _configured(config)
        except config.ConfigException as error:
            raise Failure(f"no cluster is configured: {error}. Set KUBECONFIG") from None
        self.namespace = namespace or configured
        self._api = client.CustomObjectsApi()

    def get(self, name: str) -> Found:
        """Return a resource.

        Raises:
            Failure: there is none, or the cluster does not answer.
        """
        return _found(self._asked("get_namespaced_custom_object", name))

    def annotate(self, name: str, verb: str) -> str:
        """Ask for a command to be carried out; return what stands for it.

        Raises:
            Failure: there is no such resource, or it may not be changed.
        """
        value = f"{time.time():.3f}"
        self._patch(name, {"metadata": {"annotations": {f"{GROUP}/{verb}": value}}})
        return value

    def pause(self, name: str, *, paused: bool) -> None:
        """Hold rollouts at their step, or let them go on.

        Raises:
            Failure: there is no such resource, or it may not be changed.
        """
        self._patch(name, {"spec": {"paused": paused}})

    def changes(self, name: str, seconds: float) -> Iterator[Found]:
        """Yield the resource now and whenever it changes, for so long.

        Raises:
            Failure: there is no such resource, or the cluster does not answer.
        """
        from kubernetes.watch import Watch  # noqa: PLC0415

        deadline = time.monotonic() + seconds
        yield self.get(name)
        while (left := deadline - time.monotonic()) > 0:
            selection = {"field_selector": f"metadata.name={name}", "timeout_seconds": max(1, min(60, int(left)))}
            arguments = (GROUP, VERSION, self.namespace, PLURAL)
            try:
                stream = Watch().stream(self._api.list_namespaced_custom_object, *arguments, **selection)
                for event in stream:
                    if event["type"] == "DELETED":
                        raise Failure(f"{name} has been deleted")
                    yield _found(event["object"])
            except self._refused as error:
                raise self._failure(name, error) from None

    def _patch(self, name: str, patch: Mapping[str, Any]) -> None:
        self._asked("patch_namespaced_custom_object", name, patch)

    def _asked(self, how: str, name: str, *more: object) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._api, how)(GROUP, VERSION, self.namespace, PLURAL, name, *more)
        except self._refused as error:
            raise self._failure(name, error) from None
        except Exception as error:  # urllib3's many ways to say that nobody is there
            raise Failure(f"the cluster does not answer: {type(error).__name__}") from None
        return answer

    def _failure(self, name: str, error: Any) -> Failure:
        if error.status == 404:
            return Failure(f"there is no OrderFlow {name!r} in the namespace {self.namespace!r}")
        return Failure(f"the cluster refuses: {error.status} {error.reason}")


def _configured(config: Any) -> str:
    """Configure the client as kubectl would be; return the namespace that is meant where none is named."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config()
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:  # noqa: PTH123
            return file.read().strip()
    config.load_kube_config()
    _, active = config.list_kube_config_contexts()
    return str(active["context"].get("namespace") or "default")


def _found(body: Mapping[str, Any]) -> Found:
    try:
        status = msgspec.convert(body.get("status") or {}, Status)
    except msgspec.ValidationError as error:
        sys.stderr.write(f"the status is of another version: {error}\n")
        status = Status()
    metadata = body["metadata"]
    return Found(
        name=metadata["name"],
        namespace=metadata["namespace"],
        generation=metadata.get("generation", 0),
        paused=bool(body["spec"].get("paused")),
        status=status,
    )
