"""The order API over a real database, with what stands around it under the test's control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import Connection, Table, func, select

from api.asgi import Answered, ask
from harness.databases import spared
from orderflow.contexts.order import order_context
from orderflow.contexts.order.tables import catalogue, idempotency_keys, orders
from orderflow.contracts.envelope import Message
from orderflow.gateway.accept import OrderCommands
from orderflow.gateway.cache import Cache, MemoryCache
from orderflow.gateway.orders import order_api
from orderflow.gateway.queries import OrderQueries
from orderflow.gateway.store import Store
from orderflow.gateway.tracing import Trace
from orderflow.gateway.upstreams import Unanswered, Upstreams
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.database import allow_revision
from orderflow.runtime.direct import Applied, Direct
from orderflow.runtime.schema import audit_trail, outbox, processed_events
from orderflow.saga.flow import FlowBook

WALKTHROUGH = b'{"customerId":"test-1","customerName":"Test","items":[{"productId":"sku-1","quantity":1}]}'


class Time:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@dataclass
class Published:
    """Where committed rows go instead of to a broker."""

    rows: list[OutboxRow] = field(default_factory=list)

    def hand_over(self, rows: Sequence[OutboxRow], blocked: Mapping[str, set[str]] | None = None) -> None:
        self.rows += rows


class Decides:
    """Decides as always, after whatever failures it has been given; and counts."""

    def __init__(self, direct: Direct) -> None:
        self.direct = direct
        self.before: list[Exception] = []
        self.applied: list[Message] = []

    def apply(self, connection: Connection, message: Message, traceparent: str | None = None) -> Applied:
        if self.before:
            raise self.before.pop(0)
        self.applied.append(message)
        return self.direct.apply(connection, message, traceparent)


class Others(Upstreams):
    """The other contexts' read APIs, as far as they answer."""

    def __init__(self) -> None:
        super().__init__({"payment": "http://payment", "analytics": "http://analytics"})
        self.answers: dict[tuple[str, ...], bytes | Exception | None] = {}
        self.asked: list[tuple[str, ...]] = []

    async def get(
        self, context: str, path: Sequence[str], trace: Trace, query: Mapping[str, str] | None = None
    ) -> bytes | None:
        asked = (context, *path, *(query or {}).values())
        self.asked.append(asked)
        answer = self.answers.get(asked, Unanswered(f"{context} is away"))
        if isinstance(answer, Exception):
            raise answer
        return answer


class OrderSystem:
    """The order API of one database, and requests to it.

    The database has the tables already; revision ``r1`` is allowed and the catalogue has one lamp for 19.99.
    """

    def __init__(self, url: str, time: Time, cache: Cache | None = None) -> None:
        self.time = time
        self.store = Store(url)
        for engine in (self.store.engine, self.store._writing):
            spared(engine)
        self.engine = self.store.engine
        self.cache: Cache = cache or MemoryCache(time.monotonic)
        self.published = Published()
        self.others = Others()
        self.left = False
        self.decides = Decides(Direct(order_context(FlowBook()), time, "r1"))
        self._allow_and_stock()
        commands = OrderCommands(
            store=self.store,
            decides=self.decides,
            takes_out=self.published,
            cache=self.cache,
            clock=time,
            leave=self._leave,
        )
        queries = OrderQueries(store=self.store, upstreams=self.others, cache=self.cache, ttl=30.0)
        self.app = order_api(commands, queries, self.store, ())

    def _leave(self) -> None:
        self.left = True

    def _allow_and_stock(self) -> None:
        lamp = {"product_id": "sku-1", "name": "Lamp", "available": 10, "version": 1, "changed_at": self.time.now()}
        with self.engine.begin() as connection:
            allow_revision(connection, "r1", self.time.now())
            connection.execute(catalogue.insert().values(price=Decimal("19.99"), **lamp))

    async def post(
        self, body: bytes = WALKTHROUGH, *, path: str = "/api/orders", key: str | None = None, **headers: str
    ) -> Answered:
        """Place an order. Further headers are named with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(self.app, "POST", path, body, {**named, **({"Idempotency-Key": key} if key else {})})

    async def get(self, path: str) -> Answered:
        return await ask(self.app, "GET", path)

    async def patch(self, order_id: str, body: bytes) -> Answered:
        return await ask(self.app, "PATCH", f"/api/orders/{order_id}/status", body)

    def count(self, table: Table) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def stored(self) -> tuple[int, ...]:
        """How much of anything there is that an order leaves behind."""
        return tuple(self.count(table) for table in (orders, idempotency_keys, outbox, processed_events, audit_trail))
