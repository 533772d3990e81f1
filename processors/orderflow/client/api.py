"""The order API as a client sees it: typed answers, and one sentence where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from orderflow.client.answers import Order, Orders, ProblemDocument, Products, Timeline
from orderflow.client.failures import ClientError, RefusedByApi, Unanswered
from orderflow.contracts.items import RequestedItem

T = TypeVar("T")

PATIENCE: Final = 15.0
"""Seconds for one answer: longer than the API itself waits for its database before it answers 503."""

CREATE_PATH: Final = "/orders"


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An order as it is placed. Without ``flow`` the tenant's applies, or the default one."""

    customer_id: str
    customer_name: str | None = None
    items: Sequence[RequestedItem]
    flow: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was answered, and the very bytes, for those who want them as they came."""

    value: T
    body: bytes


class OrderApi:
    """Asks the order API at ``url`` (``http://host:port``). Use it in ``async with``.

    Every method raises:
        RefusedByApi: the API refuses; the text says what is wrong with the request.
        Unanswered: what answers is no order API, or does not in time.
        ClientError: nobody is there.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close them."""
        await self._session.close()

    async def create(self, order: NewOrder, key: str) -> Answer[Order]:
        """Place ``order`` under the Idempotency-Key ``key``: repeated under the same key, it is placed once."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return await self._ask("POST", CREATE_PATH, Order, body=msgspec.json.encode(order), headers=headers)

    async def order(self, order_id: str) -> Answer[Order]:
        """Return one order."""
        return await self._ask("GET", _order_path(order_id), Order)

    async def orders(self, query: Mapping[str, str]) -> Answer[Orders]:
        """Return a page of the orders that fit ``query``: the API's own parameters."""
        return await self._ask("GET", "/api/orders", Orders, query=query)

    async def timeline(self, order_id: str) -> Answer[Timeline]:
        """Return everything that happened to one order."""
        return await self._ask("GET", _order_path(order_id) + "/timeline", Timeline)

    async def products(self) -> Answer[Products]:
        """Return the catalogue."""
        return await self._ask("GET", "/api/products", Products)

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer[T]:
        try:
            async with self._session.request(
                method, self.url + path, data=body, headers=headers, params=query
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ClientError(f"expected the order API's URL, as in http://127.0.0.1:8080, got {self.url}") from None
        except TimeoutError:
            raise Unanswered(f"the order API at {self.url} gave no answer within {PATIENCE:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _silence(self.url, error) from None
        if status >= 400:
            raise refusal(self.url, status, raw)
        try:
            return Answer(msgspec.json.decode(raw, type=kind), raw)
        except msgspec.DecodeError:
            raise Unanswered(f"what answers at {self.url} is no order API of this version") from None


def refusal(url: str, status: int, raw: bytes) -> ClientError:
    """Return what an answer with an error's status says."""
    try:
        problem = msgspec.json.decode(raw, type=ProblemDocument)
    except msgspec.DecodeError:
        return Unanswered(f"what answers {status} at {url} is no order API")
    return RefusedByApi(status, f"{problem.field}: {problem.detail}" if problem.field else problem.detail)


def _silence(url: str, error: Exception) -> ClientError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return ClientError(
            f"no order API answers at {url}: is the system up? `orderflow up -f manifests/quickstart.yaml`"
        )
    return Unanswered(f"the connection to {url} ended before an answer came ({type(error).__name__})")


def _order_path(order_id: str) -> str:
    # An identifier is one segment of the path, whatever is in it.
    return f"/api/orders/{quote(order_id, safe='')}"
