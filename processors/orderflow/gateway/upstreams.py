"""The contexts' read APIs, as the order API asks them: briefly, and ready for each of them to be away."""

from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from orderflow.gateway.problems import Problem, ProblemDocument
from orderflow.gateway.tracing import Trace

PATIENCE: Final = 1.0
"""Seconds for a read API's whole answer: it reads a few rows by key."""

CONNECT_PATIENCE: Final = 0.3


class Unanswered(Exception):  # noqa: N818 - names what happened
    """A read API gave no answer that could be used."""


class Upstreams:
    """Asks the read API of any context but the order's own.

    Args:
        addresses: per context, the root of its read API (``http://host:port``).
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = {context: URL(root) for context, root in addresses.items()}
        self._session: aiohttp.ClientSession | None = None

    @property
    def contexts(self) -> tuple[str, ...]:
        """Whom can be asked."""
        return tuple(self._addresses)

    async def start(self) -> None:
        """Open the connections' pool."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE, sock_connect=CONNECT_PATIENCE)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def stop(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, context: str, path: Sequence[str], trace: Trace, query: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Return the body of the answer, or ``None`` where the context says that there is no such thing.

        Args:
            path: its segments, as they are: what has a meaning in an address is escaped.

        Raises:
            Problem: the context says that the request cannot be.
            Unanswered: no answer came in time, or one that is none.
        """
        root = self._addresses.get(context)
        if root is None or self._session is None:
            raise Unanswered(f"nobody has said where {context} is")
        headers = {"traceparent": trace.traceparent}
        if trace.correlation_id:
            headers["X-Correlation-ID"] = trace.correlation_id
        try:
            async with self._session.get(root.joinpath(*path).with_query(query), headers=headers) as response:
                return _meant(context, response.status, await response.read())
        except (aiohttp.ClientError, msgspec.DecodeError, OSError) as error:
            raise Unanswered(f"{context} does not answer: {type(error).__name__}") from error


def _meant(context: str, status: int, body: bytes) -> bytes | None:
    match status:
        case 200:
            return body
        case 404:
            return None
        case 400:
            told = msgspec.json.decode(body, type=ProblemDocument)
            raise Problem(400, "malformed-request", told.detail, field=told.field)
        case _:
            raise Unanswered(f"{context} answered {status}")
