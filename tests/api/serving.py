"""The order API as it runs: one process's parts, behind a real uvicorn server, for real HTTP clients."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import aiohttp
import msgspec

from orderflow.contexts.order.tables import catalogue
from orderflow.gateway.order_process import OrderProcess
from orderflow.gateway.server import Server, bound
from orderflow.runtime.clock import SystemClock
from orderflow.runtime.database import open_database
from orderflow.runtime.preparing import allow
from orderflow.saga.flow import FlowBook
from orderflow.spec.deployment import Deployment, process_names, resolve
from orderflow.spec.resource import Broker, Cache, Database, Gateway, Metadata, OrderFlow, Spec

NOWHERE = "127.0.0.1:1"
"""Where no broker is."""


@dataclass(frozen=True)
class Got:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


class Client:
    """One HTTP client, with connections of its own."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self._session = session
        self._root = root

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Got:
        """Send one request. Further headers are named with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self._root + path, data=body, headers=named) as response:
            return Got(response.status, response.headers, await response.read())

    async def post(self, body: object, path: str = "/api/orders", **headers: str) -> Got:
        return await self.ask("POST", path, body, **headers)

    async def get(self, path: str) -> Got:
        return await self.ask("GET", path)


@asynccontextmanager
async def client(root: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, root)


def deployment(
    folder: Path, url: str, *, broker: str = NOWHERE, cache: str | None = None, prefix: str = "", port: int = 8080
) -> Deployment:
    """A deployment whose order database is at ``url`` and migrated, with one lamp for 19.99 in its catalogue."""
    resource = OrderFlow(
        api_version="orderflow.dev/v1alpha1",
        kind="OrderFlow",
        metadata=Metadata(name="test"),
        spec=Spec(
            broker=Broker(topic_prefix=prefix),
            database=Database(url=url),
            cache=Cache(url=cache),
            gateway=Gateway(port=port),
        ),
    )
    ports = dict.fromkeys(process_names(resource), 1)
    made = resolve(resource, data_dir=folder, broker=broker, ports=ports, revision="r1")
    now = SystemClock().now()
    engine = open_database(url)
    allow("order", url, "r1", engine, now)
    lamp = {"product_id": "sku-1", "name": "Lamp", "available": 10, "version": 1, "changed_at": now}
    with engine.begin() as connection:
        connection.execute(catalogue.insert().values(price=Decimal("19.99"), **lamp))
    engine.dispose()
    return made


@asynccontextmanager
async def serving(deployment: Deployment, instance: str = "order-api") -> AsyncIterator[str]:
    """Serve the order API on a free port, and give its root."""
    process = OrderProcess(deployment, FlowBook(), instance)
    listener = bound("127.0.0.1", 0)
    server = Server(process.app, listener)
    process.leave = server.leave
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn has a flag, no event
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave()
        await running
