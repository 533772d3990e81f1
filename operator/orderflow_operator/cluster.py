"""The API server, as far as the operator writes to it: server-side apply under one name, and little else.

What cannot be reached or is overloaded is :class:`ClusterAway`: nobody's fault, tried again. What is refused is
:class:`Refused`, with the server's own words.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import msgspec
from kubernetes.aio.client.api_client import ApiClient

from orderflow_operator.manifest import Manifest, path_of
from orderflow_operator.names import MANAGER

PATIENCE: Final = 15.0
"""Seconds for one answer: a slow API server needs some, and a connection that was cut off is not waited for longer."""

PAGE: Final = 100
"""Objects that are listed at a time: a whole cluster's pods at once would be most of the operator's memory."""

APPLY: Final = "application/apply-patch+yaml"
JSON: Final = "application/json"
_OVERLOADED: Final = frozenset({429, 500, 502, 503, 504})


class ClusterError(Exception):
    """Something the API server was asked for did not come about."""


class ClusterAway(ClusterError):  # noqa: N818 - a condition, not a fault
    """No answer, or none for now."""


class Refused(ClusterError):  # noqa: N818 - says what happened
    """An answer that says no. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One API server. ``count`` is told of every request by method and kind."""

    def __init__(self, client: ApiClient, count: Callable[[str, str], None] = lambda _method, _kind: None) -> None:
        self._client = client
        self._count = count

    async def apply(self, manifest: Manifest, subresource: str = "") -> Manifest:
        """Make an object what ``manifest`` says, whoever said otherwise of these fields; leave all others alone."""
        metadata = manifest["metadata"]
        path = path_of(manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        query = [("fieldManager", MANAGER), ("force", "true")]
        place = f"{path}/{subresource}" if subresource else path
        return await self._ask("PATCH", manifest["kind"], place, query, manifest, APPLY)

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or ``None`` if there is none."""
        try:
            return await self._ask("GET", kind, path_of(api_version, kind, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def listed(self, api_version: str, kind: str, namespace: str, selector: str) -> AsyncIterator[Manifest]:
        """Yield all objects of a kind that a label selector names, in one namespace or, without one, in all."""
        following = ""
        while True:
            query = [("limit", str(PAGE)), ("labelSelector", selector), ("continue", following)]
            answer = await self._ask(
                "GET", kind, path_of(api_version, kind, namespace), [one for one in query if one[1]]
            )
            for item in answer["items"]:
                yield item
            following = answer["metadata"].get("continue", "")
            if not following:
                return

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object.

        Raises:
            Refused: 409 if it is there already.
        """
        path = path_of(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"])
        return await self._ask("POST", manifest["kind"], path, body=manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        """Put an object in place of the version that ``metadata.resourceVersion`` names.

        Raises:
            Refused: 409 if it has another version by now.
        """
        metadata = manifest["metadata"]
        path = path_of(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])
        return await self._ask("PUT", manifest["kind"], path, body=manifest)

    async def merge(self, api_version: str, kind: str, namespace: str, name: str, patch: Manifest) -> None:
        """Change what ``patch`` names (a JSON merge patch); nothing happens to what is gone."""
        path = path_of(api_version, kind, namespace, name)
        try:
            await self._ask("PATCH", kind, path, body=patch, content="application/merge-patch+json")
        except Refused as refused:
            if refused.status != 404:
                raise

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, version: str = "") -> None:
        """Delete an object and, in the background, what belongs to it.

        Args:
            version: then only as long as this is its ``metadata.resourceVersion``.

        Raises:
            Refused: 409 if it has another version by now.
        """
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if version:
            body["preconditions"] = {"resourceVersion": version}
        try:
            await self._ask("DELETE", kind, path_of(api_version, kind, namespace, name), body=body)
        except Refused as refused:
            if refused.status != 404:
                raise

    async def offers(self, api_version: str) -> frozenset[str]:
        """Return the kinds that the server has of an API; none if it does not know it."""
        try:
            answer = await self._ask("GET", "", f"/apis/{api_version}")
        except Refused as refused:
            if refused.status == 404:
                return frozenset()
            raise
        return frozenset(one["kind"] for one in answer["resources"])

    async def _ask(
        self,
        method: str,
        kind: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content: str = JSON,
    ) -> Manifest:
        self._count(method, kind)
        headers = {"Accept": JSON, "Content-Type": content}
        try:
            asked = await self._client.param_serialize(
                method, path, query_params=query or [], header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await self._client.call_api(*asked, _request_timeout=aiohttp.ClientTimeout(PATIENCE))
            answer: bytes = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterAway(f"the API server does not answer: {type(error).__name__}") from error
        return _answer(response.status, answer)


def _answer(status: int, answer: bytes) -> Manifest:
    if status in _OVERLOADED:
        raise ClusterAway(f"the API server cannot answer now: {status}")
    try:
        told: dict[str, Any] = msgspec.json.decode(answer) if answer else {}
    except msgspec.DecodeError:
        told = {"message": answer[:200].decode(errors="replace")}
    if status >= 400:
        raise Refused(status, told.get("message", str(status)))
    return told
