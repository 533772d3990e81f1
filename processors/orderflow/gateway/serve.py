"""The API processes: everything wired together, served until a signal, and taken apart again.

An API process starts without its database and without the broker: it says so in its readiness, answers 503 to what
needs the database, and goes on when it is there.
"""

import asyncio
import contextlib
import importlib
import socket
from collections.abc import AsyncIterator, Mapping

import structlog
from starlette.applications import Starlette

from orderflow.gateway.health import database_checks
from orderflow.gateway.reads import Read, read_api
from orderflow.gateway.server import PortTaken, Server, bound
from orderflow.gateway.store import Store
from orderflow.saga.flow import FlowBook
from orderflow.spec.deployment import Deployment, api_name

log = structlog.get_logger(__name__)


def serve_order_api(deployment: Deployment, flows: FlowBook, instance: str) -> None:
    """Serve the order API until a signal, or until its revision is removed.

    Args:
        flows: what orders may choose among.
        instance: this process's name.

    Raises:
        SystemExit: it could not start, with one sentence; or its revision was removed, with status 78.
    """
    # FastAPI, Kafka's and Redis's clients: what a read API has no use for stays out of its process.
    from orderflow.gateway.order_process import OrderProcess  # noqa: PLC0415

    listener = _listener(deployment.resource.spec.gateway.host, deployment.port_of(instance, api_name("order")))
    process = OrderProcess(deployment, flows, instance)
    server = Server(process.app, listener)
    process.leave = server.leave
    server.serve_until_told()
    if process.exit_status:
        raise SystemExit(process.exit_status)


def serve_read_api(deployment: Deployment, context: str, instance: str) -> None:
    """Serve the read API of ``context`` until a signal.

    Raises:
        SystemExit: it could not start; with one sentence.
    """
    listener = _listener(deployment.host, deployment.port_of(instance, api_name(context)))
    store = Store(deployment.database_url(context), deployment.resource.spec.database.durability)
    routes: Mapping[str, Read] = importlib.import_module(f"orderflow.contexts.{context}.reads").ROUTES

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        log.info("running", instance=instance)
        yield
        await asyncio.to_thread(store.close)
        log.info("stopped", instance=instance)

    Server(read_api(context, store, routes, database_checks(store, context), lifespan), listener).serve_until_told()


def _listener(host: str, port: int) -> socket.socket:
    try:
        return bound(host, port)
    except PortTaken as taken:
        raise SystemExit(f"orderflow: {taken.strerror}") from None
