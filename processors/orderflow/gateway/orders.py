"""The order API: takes orders in, shows them, and lets their status be set. Part of the order context.

Bodies are decoded and answers encoded with msgspec rather than with FastAPI's models: an endpoint takes the request and
returns bytes. What FastAPI cannot see of them it is told, operation by operation, for the OpenAPI document.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import request_response

from orderflow.gateway.accept import OrderCommands
from orderflow.gateway.docs_page import page
from orderflow.gateway.health import Check, live, ready
from orderflow.gateway.openapi import OPERATIONS, described
from orderflow.gateway.problems import HANDLERS
from orderflow.gateway.queries import CONTEXT, OrderQueries
from orderflow.gateway.reads import reader
from orderflow.gateway.requests import WithoutNul
from orderflow.gateway.store import Store
from orderflow.gateway.telemetry import HttpMetrics, Observed
from orderflow.gateway.timelines import ContextTimeline, timeline_of

TITLE = "OrderFlow"
DESCRIPTION = "Place orders, follow them, and set their status."
VERSION = "1.0"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def order_api(
    commands: OrderCommands,
    queries: OrderQueries,
    store: Store,
    checks: Sequence[Check],
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Return the order API.

    Args:
        commands: the endpoints that change orders.
        queries: the endpoints that show something.
        store: on the order context's database, for the context's own part of a timeline.
        checks: what readiness looks at.
        lifespan: entered at start and left at the end.
    """
    metrics = HttpMetrics()
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
    )
    schemas = _route(app, commands, queries)
    app.add_route("/timeline/{orderId}", reader(store, _own_timeline))
    app.add_route("/health/live", live)
    app.add_route("/health/ready", ready(checks))
    app.add_route("/metrics", metrics.endpoint)
    _describe(app, schemas)
    app.add_middleware(WithoutNul)
    app.add_middleware(Observed, metrics=metrics)
    return app


def _route(app: FastAPI, commands: OrderCommands, queries: OrderQueries) -> dict[str, Any]:
    operations, schemas = described()
    for operation, extra in zip(OPERATIONS, operations, strict=True):
        app.add_api_route(
            operation.path,
            getattr(queries if operation.method == "GET" else commands, operation.endpoint),
            methods=[operation.method],
            status_code=operation.shows[0],
            response_class=Response,
            response_model=None,
            operation_id=operation.endpoint,
            openapi_extra=extra,
        )
    for route in app.routes:
        if isinstance(route, APIRoute):
            # The endpoints take the request as it is: looking for dependencies took an eighth of a request's time.
            route.app = request_response(route.endpoint)
    return schemas


def _own_timeline(connection: Connection, parameters: Mapping[str, str]) -> ContextTimeline:
    return timeline_of(connection, CONTEXT, parameters["orderId"])


def _describe(app: FastAPI, schemas: dict[str, Any]) -> None:
    """Serve the OpenAPI document, made when it is first asked for, to programs and to people."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes)
            app.openapi_schema = {**made, "components": {"schemas": schemas}}
        return app.openapi_schema

    async def openapi(request: Request) -> Response:
        del request
        return JSONResponse(app.openapi())

    async def docs(request: Request) -> Response:
        del request
        return HTMLResponse(page(app.openapi()))

    app.openapi = document  # type: ignore[method-assign] # the way FastAPI documents
    app.add_route("/openapi.json", openapi)
    app.add_route("/docs", docs)
