"""The API processes: everything wired together, served until a signal, and taken apart again.

An API process starts without its database and without the broker: it says so in its readiness, answers 503 to what
needs the database, and goes on when it is there.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Final, NoReturn

import structlog
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette

from orderflow.gateway.health import Check
from orderflow.gateway.reads import Read, read_api
from orderflow.gateway.server import PortTaken, Server, bound
from orderflow.gateway.store import Store, bound_waits
from orderflow.runtime.database import open_database
from orderflow.runtime.migrate import at_head
from orderflow.spec.deployment import Deployment, api_name

log = structlog.get_logger(__name__)

REMOVED: Final = 78
"""Exit status of a process whose revision has been removed, as of the processors: starting it again does not help."""


def serve_read_api(deployment: Deployment, context: str, instance: str) -> None:
    """Serve the read API of ``context`` until a signal.

    Raises:
        SystemExit: the port is taken; with one sentence.
    """
    listener = _bound("127.0.0.1", deployment.ports.get(instance, deployment.ports[api_name(context)]))
    store = Store(open_database(deployment.database_url(context), deployment.resource.spec.database.durability))
    routes: Mapping[str, Read] = importlib.import_module(f"orderflow.contexts.{context}.reads").ROUTES

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        log.info("running", instance=instance)
        yield
        await asyncio.to_thread(store.close)
        log.info("stopped", instance=instance)

    app = read_api(context, store, routes, database_checks(store, context), lifespan)
    Server(app, listener).serve_until_told()
