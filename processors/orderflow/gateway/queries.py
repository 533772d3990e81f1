"""What the order API shows: orders from the order context's own database, the rest from the contexts' read APIs.

Single things are read through the cache; listings are not, since every order taken in would drop all of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection, select
from starlette.requests import Request
from starlette.responses import Response

from orderflow.contexts.order import reads
from orderflow.contexts.order.tables import ORDERS, orders
from orderflow.contracts.decision import Refused
from orderflow.gateway.cache import Cache, Fresh, ReadThrough
from orderflow.gateway.problems import Problem, not_found
from orderflow.gateway.store import RETRY_AFTER, Store
from orderflow.gateway.timelines import CallAttempts, ContextTimeline, TimelineEntry, timeline_of
from orderflow.gateway.tracing import Trace, trace_of
from orderflow.gateway.upstreams import Unanswered, Upstreams
from orderflow.saga.table import Phase

log = structlog.get_logger(__name__)
T = TypeVar("T")

CONTEXT: Final = "order"

BRIEFLY: Final = 1.0
"""Seconds for which something may be shown whose changes no event announces: an order on its way, figures."""

PAGE: Final = 50

_ENDED: Final = frozenset({Phase.COMPLETED.value, Phase.CANCELLED.value})
_timelines = msgspec.json.Decoder(ContextTimeline)


class Timeline(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that happened to an order, in every context, in the order in which it was recorded.

    ``incomplete`` names the contexts that did not answer, whose part is missing.
    """

    order_id: str
    entries: tuple[TimelineEntry, ...]
    calls: tuple[CallAttempts, ...]
    incomplete: tuple[str, ...]


def composed(order_id: str, parts: Sequence[ContextTimeline], incomplete: Sequence[str]) -> Timeline:
    """Return the timeline made of the contexts' parts.

    By the time of recording: what follows from a message is recorded after it, while their own times may be equal.
    """
    return Timeline(
        order_id=order_id,
        entries=tuple(
            sorted((e for part in parts for e in part.entries), key=lambda entry: (entry.recorded_at, entry.context))
        ),
        calls=tuple(
            sorted((c for part in parts for c in part.calls), key=lambda call: (call.created_at, call.context))
        ),
        incomplete=tuple(sorted(incomplete)),
    )


class OrderQueries:
    """The endpoints that show something.

    Args:
        store: on the order context's database.
        upstreams: the other contexts' read APIs.
        ttl: seconds for which an entry is kept whose changes are announced by events.
    """

    def __init__(self, *, store: Store, upstreams: Upstreams, cache: Cache, ttl: float) -> None:
        self._store = store
        self._upstreams = upstreams
        self._reads = ReadThrough(cache)
        self._ttl = ttl

    async def order(self, request: Request) -> Response:
        """Show one order."""
        order_id = request.path_params["orderId"]

        async def load() -> Fresh | None:
            view, ended = await self._store.read(lambda connection: _order(connection, order_id))
            return Fresh(msgspec.json.encode(view), self._ttl if ended else self._briefly) if view else None

        return _shown(await self._reads.get(f"order:{order_id}", load), "order", "orderId")

    async def orders(self, request: Request) -> Response:
        """Show a page of orders."""
        query = request.query_params
        limit = _number("limit", query.get("limit"), PAGE)
        try:
            page = await self._store.read(
                lambda connection: reads.order_page(
                    connection,
                    status=query.get("status"),
                    customer_id=query.get("customerId"),
                    q=query.get("q"),
                    cursor=query.get("cursor"),
                    limit=limit,
                )
            )
        except Refused as refused:
            raise Problem(400, "malformed-request", refused.reason, field=refused.field) from None
        return _json(msgspec.json.encode(page))

    async def timeline(self, request: Request) -> Response:
        """Show what happened to one order, in every context."""
        order_id, trace = request.path_params["orderId"], trace_of(request)

        async def load() -> Fresh | None:
            return await self._timeline(order_id, trace)

        return _shown(await self._reads.get(f"timeline:{order_id}", load), "order", "orderId")

    async def _timeline(self, order_id: str, trace: Trace) -> Fresh | None:
        own = await self._store.read(lambda connection: _own_timeline(connection, order_id))
        if own is None:
            return None
        others = self._upstreams.contexts
        parts = await asyncio.gather(*(self._part(context, order_id, trace) for context in others))
        missing = [context for context, part in zip(others, parts, strict=True) if part is None]
        whole = composed(order_id, [own, *(part for part in parts if part is not None)], missing)
        return Fresh(msgspec.json.encode(whole), 0 if missing else self._briefly)

    async def _part(self, context: str, order_id: str, trace: Trace) -> ContextTimeline | None:
        try:
            body = await self._upstreams.get(context, ("timeline", order_id), trace)
            return _timelines.decode(body) if body else None
        except (Unanswered, msgspec.DecodeError) as error:
            log.warning("timeline is incomplete", context=context, orderId=order_id, reason=str(error))
            return None

    async def products(self, request: Request) -> Response:
        """Show the catalogue."""
        del request

        async def load() -> Fresh:
            return Fresh(msgspec.json.encode(await self._store.read(reads.products)), self._ttl)

        return _shown(await self._reads.get("products", load), "", "")

    async def product(self, request: Request) -> Response:
        """Show one product."""
        product_id = request.path_params["productId"]

        async def load() -> Fresh | None:
            view = await self._store.read(lambda connection: reads.product(connection, product_id))
            return Fresh(msgspec.json.encode(view), self._ttl) if view else None

        return _shown(await self._reads.get(f"product:{product_id}", load), "product", "productId")

    async def summary(self, request: Request) -> Response:
        """Show analytics' figures."""
        windows = request.query_params.get("windows")
        query = {} if windows is None else {"windows": windows}
        return await self._passed_on("analytics", "summary", query, trace_of(request))

    async def notifications(self, request: Request) -> Response:
        """Show an order's notifications."""
        order_id = request.query_params.get("orderId")
        if not order_id:
            raise Problem(400, "malformed-request", "say which order's notifications are wanted", field="orderId")
        return await self._passed_on("notification", "notifications", {"orderId": order_id}, trace_of(request))

    async def _passed_on(self, context: str, path: str, query: Mapping[str, str], trace: Trace) -> Response:
        async def load() -> Fresh | None:
            body = await self._upstreams.get(context, (path,), trace, query)
            return Fresh(body, self._briefly) if body else None

        try:
            found = await self._reads.get(":".join((path, *query.values())), load)
        except Unanswered as error:
            log.warning("upstream is away", context=context, reason=str(error))
            headers = {"Retry-After": str(RETRY_AFTER)}
            raise Problem(503, "upstream-unavailable", f"{context} does not answer", headers=headers) from None
        return _shown(found, "thing", next(iter(query), ""))

    @property
    def _briefly(self) -> float:
        return min(BRIEFLY, self._ttl)


def _order(connection: Connection, order_id: str) -> tuple[reads.OrderView | None, bool]:
    view = reads.order(connection, order_id)
    phase = connection.scalar(select(orders.c.phase).where(orders.c.order_id == order_id))
    return view, phase in _ENDED


def _own_timeline(connection: Connection, order_id: str) -> ContextTimeline | None:
    known = ORDERS.versions(connection, [order_id], lock=False)
    return timeline_of(connection, CONTEXT, order_id) if known else None


def _number(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(400, "malformed-request", "this is a whole number", field=name)
    return int(text)


def _shown(body: bytes | None, what: str, field: str) -> Response:
    if body is None:
        raise not_found(what, field)
    return _json(body)


def _json(body: bytes) -> Response:
    # Copies that a proxy or browser kept would outlive what this cache promises.
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")
