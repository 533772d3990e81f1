import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import click
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from click.testing import CliRunner, Result

from orderflow.client import endings, following, load_run

T = TypeVar("T")

CREATED_AT = "2026-02-14T10:00:00Z"


def _transition(context: str, before: str, after: str, cause: str, attempt: int = 0) -> dict[str, object]:
    return {
        "context": context,
        "at": CREATED_AT,
        "recordedAt": "2026-02-14T10:00:00.123456Z",
        "from": before,
        "to": after,
        "cause": {"eventId": f"{cause}-{after}", "eventType": cause},
        "correlationId": "story",
        "attempt": attempt,
    }


@dataclass
class FakeApi:
    """The order API as clients see it, over HTTP on loopback; its orders are as the test sets them."""

    url: str = ""
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    timelines: list[list[dict[str, object]]] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    answers: list[tuple[int, object]] = field(default_factory=list)
    """What is answered instead, the next times that anything is asked."""
    status: str = "Completed"
    """Of orders as they are listed."""

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._instead])
        application.add_routes(
            [
                web.post("/orders", self._create),
                web.get("/api/orders", self._list),
                web.get("/api/orders/{id}", self._get),
                web.get("/api/orders/{id}/timeline", self._timeline),
                web.get("/api/products", self._products),
            ]
        )
        return application

    def add(self, order_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self.orders.setdefault(
            order_id,
            {
                "orderId": order_id,
                "status": "Pending",
                "flow": body.get("flow") or "order-to-delivery",
                "customerId": body["customerId"],
                "customerName": body.get("customerName", ""),
                "items": [{"price": "4.50", **item} for item in body["items"]],
                "total": "9.00",
                "createdAt": CREATED_AT,
                "updatedAt": CREATED_AT,
                "fulfillment": {"carrier": None, "trackingNumber": None, "shippedAt": None, "errorMessage": None},
                "cancellationReason": None,
            },
        )

    @web.middleware
    async def _instead(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        if self.answers:
            status, body = self.answers.pop(0)
            await request.read()
            return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/problem+json")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read())
        self.taken.append((request.headers["Idempotency-Key"], body))
        return _json(self.add(str(uuid4()), body), 201)

    async def _list(self, request: web.Request) -> web.Response:
        shown = [{**order, "status": self.status} for order in reversed(self.orders.values())]
        first, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
        page, rest = shown[first : first + limit], shown[first + limit :]
        return _json({"orders": page, "nextCursor": str(first + limit) if rest else None})

    async def _get(self, request: web.Request) -> web.Response:
        order = self.orders.get(request.match_info["id"])
        if order is None:
            return _json({"detail": "there is no such order", "field": "orderId", "status": 404}, 404)
        return _json(order)

    async def _timeline(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.orders:
            return _json({"detail": "there is no such order", "field": "orderId", "status": 404}, 404)
        entries = self.timelines.pop(0) if len(self.timelines) > 1 else self.timelines[0]
        order_id = request.match_info["id"]
        return _json({"orderId": order_id, "entries": entries, "calls": [], "incomplete": self.incomplete})

    async def _products(self, request: web.Request) -> web.Response:
        del request
        return _json({"products": [{"productId": "sku-1", "name": "Notebook"}, {"productId": "sku-2", "name": "Pen"}]})


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


class _Loop:
    """An event loop in a thread of its own: commands run one of theirs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake, loop, port = FakeApi(), _Loop(), unused_port()
    fake.url = f"http://127.0.0.1:{port}"
    runner = web.AppRunner(fake.application(), access_log=None)
    loop.run(runner.setup())
    loop.run(web.TCPSite(runner, "127.0.0.1", port).start())
    yield fake
    loop.run(runner.cleanup())
    loop.close()


@pytest.fixture
def transition() -> Callable[..., dict[str, object]]:
    """Makes an entry of a timeline: context, status before and after, the cause's type, attempt."""
    return _transition


@pytest.fixture
def nobody() -> str:
    """The address of an order API that is not there."""
    return f"http://127.0.0.1:{unused_port()}"


class Command(Protocol):
    def __call__(self, command: click.Command, *arguments: str) -> Result: ...


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Command:
    """Runs a command in an empty folder, with nothing in the environment that it reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORDERFLOW_URL", raising=False)
    monkeypatch.delenv("ORDERFLOW_DEPLOYMENT", raising=False)
    # What these are makes no difference but to the test's own time.
    monkeypatch.setattr(following, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(endings, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(load_run, "HEAD_START", 0.0)
    monkeypatch.setattr(load_run, "GLANCE", 0.01)

    def run(command: click.Command, *arguments: str) -> Result:
        result = CliRunner().invoke(command, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
