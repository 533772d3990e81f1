"""A context's read API: a small process beside the context's processor that shows what the context has recorded.

It opens its own context's database alone, and only to read. Every context has the same routes for timeline, health and
metrics; what it shows besides are its own ``ROUTES``.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orderflow.contracts.decision import Refused
from orderflow.gateway.health import Check, live, ready
from orderflow.gateway.problems import HANDLERS, Problem, not_found
from orderflow.gateway.requests import WithoutNul
from orderflow.gateway.store import Store
from orderflow.gateway.telemetry import HttpMetrics, Observed
from orderflow.gateway.timelines import timeline_of

Read = Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def read_api(
    context: str,
    store: Store,
    routes: Mapping[str, Read],
    checks: Sequence[Check],
    lifespan: Lifespan | None = None,
) -> Starlette:
    """Return the read API of ``context``.

    Args:
        context: its name, as the timeline shows it.
        store: on its database.
        routes: path templates, each with what it shows for the path's and the query's parameters; ``None`` is a 404.
        checks: what readiness looks at.
        lifespan: entered at start and left at the end.
    """
    metrics = HttpMetrics()

    def timeline(connection: Connection, parameters: Mapping[str, str]) -> msgspec.Struct:
        return timeline_of(connection, context, parameters["orderId"])

    shown: Mapping[str, Read] = {"/timeline/{orderId}": timeline, **routes}
    return Starlette(
        routes=[
            *(Route(path, reader(store, read), methods=["GET"]) for path, read in shown.items()),
            Route("/health/live", live),
            Route("/health/ready", ready(checks)),
            Route("/metrics", metrics.endpoint),
        ],
        middleware=[Middleware(Observed, metrics=metrics), Middleware(WithoutNul)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )


def reader(store: Store, read: Read) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that shows what ``read`` returns."""

    async def endpoint(request: Request) -> Response:
        parameters = {**request.query_params, **request.path_params}
        try:
            found = await store.read(lambda connection: read(connection, parameters))
        except Refused as refused:
            raise Problem(400, "malformed-request", refused.reason, field=refused.field) from None
        if found is None:
            raise not_found("thing", next(iter(request.path_params), ""))
        return Response(msgspec.json.encode(found), media_type="application/json")

    return endpoint
