"""The operator's health and metrics, for its own probes and for Prometheus.

Alive means more than that a process is there: every watch runs, and a renewal of the lease has come back through one.
While the API server is away neither can be expected, and nobody is restarted for it.
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at; ``detail`` is what was found."""

    name: str
    ok: bool
    detail: str = ""


Looker = Callable[[], list[Check]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health:
    """Serves ``/health/live``, ``/health/ready`` and ``/metrics``."""

    def __init__(self, port: int, live: Looker, ready: Looker, registry: CollectorRegistry) -> None:
        self._port = port
        app = web.Application()
        app.router.add_get("/health/live", _answering(live))
        app.router.add_get("/health/ready", _answering(ready))
        app.router.add_get("/metrics", _metrics(registry))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen on all addresses.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", self._port).start()  # noqa: S104 - the pod's own network

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def _answering(look: Looker) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        checks = look()
        ok = all(check.ok for check in checks)
        body = msgspec.json.encode({"status": "ok" if ok else "failing", "checks": checks})
        return web.Response(status=200 if ok else 503, body=body, content_type="application/json")

    return answer


def _metrics(registry: CollectorRegistry) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
