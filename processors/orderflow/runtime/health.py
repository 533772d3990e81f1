"""Health and metrics of a process, on a port of their own beside the agents.

Readiness names what it checked. Liveness looks at progress: a worker that has partitions with messages waiting and has
recorded nothing for a minute is stuck, whatever its process looks like. While the infrastructure is known to be away
nobody can make progress, and nobody is restarted for it.
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


class Check(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str = ""


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """All of them; ``status`` is ``ok`` if every one is."""

    status: str
    checks: list[Check]


Looker = Callable[[], list[Check]]


def report(checks: list[Check]) -> tuple[int, bytes]:
    """Return the HTTP status and body that tell of ``checks``."""
    ok = all(check.ok for check in checks)
    return 200 if ok else 503, msgspec.json.encode(Report("ok" if ok else "failing", checks))


class HealthServer:
    """Serves ``/health/live``, ``/health/ready`` and ``/metrics`` on the loop of whoever starts it."""

    def __init__(self, host: str, port: int, live: Looker, ready: Looker, registry: CollectorRegistry) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._app = web.Application()
        self._app.router.add_get("/health/live", self._answering(live))
        self._app.router.add_get("/health/ready", self._answering(ready))
        self._app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(self._app, access_log=None)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @staticmethod
    def _answering(look: Looker) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            status, body = report(look())
            return web.Response(status=status, body=body, content_type="application/json")

        return answer

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
