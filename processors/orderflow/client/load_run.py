"""One load from its start to its report: orders out through the order API, ends in from the broker or the API."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

import aiohttp
import msgspec

from orderflow.client.answers import Accepted
from orderflow.client.api import CREATE_PATH, NewOrder, OrderApi, refusal
from orderflow.client.endings import ApiEndings, BrokerEndings, Endings, words_of
from orderflow.client.failures import ClientError, RefusedByApi
from orderflow.client.figures import Report, Tally, schedule
from orderflow.client.open_loop import send_on_schedule
from orderflow.client.pace import Pace, RealPace
from orderflow.contracts.items import RequestedItem
from orderflow.spec.deployment import Deployment

CONNECTIONS: Final = 256
"""At most, kept open. With 1000 orders/s, all of them are in use when an answer takes 256 ms; an order that has to wait
for one waits on its own account: its time runs from when it was due."""

CUSTOMERS: Final = 1000

HEAD_START: Final = 0.2
"""Seconds from the end of all preparations to the first order."""

GLANCE: Final = 0.05
"""Seconds between two looks at whether all is done, and between two strokes of a progress bar."""

NO_ANSWER: Final = "no answer"

_accepted = msgspec.json.Decoder(Accepted)


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        url: of the order API.
        rate: orders per second.
        flow: which all orders take; without, the default one.
        products: of which each order has one piece, in turn; without, all of the catalogue.
        patience: seconds after the last order was due, within which all have to be answered and to end.
        deployment: of the system behind ``url``, where it is known.
    """

    url: str
    rate: float
    orders: int
    flow: str | None
    products: Sequence[str]
    patience: float
    deployment: Deployment | None


async def run_load(load: Load, show: Callable[[Tally], None]) -> tuple[Report, str]:
    """Send the orders and wait for their ends; return the report, and why the first order was refused, if one was.

    ``show`` is called often while it runs.

    Raises:
        ClientError: the load could not begin, or nobody tells of ends any more.
    """
    pace = RealPace()
    async with OrderApi(load.url) as api:
        # Asked for in any case: an API that is away is noticed before the schedule begins.
        catalogue = [product.product_id for product in (await api.products()).value.products]
        products = load.products or catalogue
        if not products:
            raise ClientError("the catalogue is empty: name products with --products, or declare some in the resource")
        endings = _endings(load, api, pace)
        try:
            await endings.start()
            tally = await _run(load, _bodies(load, products), endings, show, pace)
        finally:
            await endings.stop()
    return tally.report(endings.observed), tally.first_reason


def _endings(load: Load, api: OrderApi, pace: Pace) -> Endings:
    if load.deployment is None:
        return ApiEndings(api, pace)
    return BrokerEndings(load.deployment, words_of(load.deployment.resource, load.flow), pace)


def _bodies(load: Load, products: Sequence[str]) -> Sequence[bytes]:
    """Return every order's body, encoded before the schedule begins."""
    return [
        msgspec.json.encode(
            NewOrder(
                customer_id=f"customer-{number % CUSTOMERS}",
                items=(RequestedItem(product_id=product, quantity=1),),
                flow=load.flow,
            )
        )
        for number, product in zip(range(load.orders), itertools.cycle(products), strict=False)
    ]


async def _run(
    load: Load, bodies: Sequence[bytes], endings: Endings, show: Callable[[Tally], None], pace: Pace
) -> Tally:
    begin = pace.now() + HEAD_START
    due = [begin + after for after in schedule(load.rate, load.orders)]
    tally = Tally(load.rate, due)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Content-Type": "application/json"},
    ) as session:
        sender = _Sender(session, load.url.rstrip("/"), bodies, tally, pace)
        jobs = [
            asyncio.create_task(endings.watch(tally)),
            asyncio.create_task(send_on_schedule(due, sender.send, pace)),
        ]
        try:
            while not tally.is_complete and pace.now() < due[-1] + load.patience:
                _raise_failures(jobs)
                show(tally)
                await pace.sleep(GLANCE)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
    tally.give_up(NO_ANSWER)
    show(tally)
    return tally


def _raise_failures(jobs: Sequence["asyncio.Task[None]"]) -> None:
    for job in jobs:
        if job.done():
            job.result()


class _Sender:
    """Sends orders by number and tells the tally what was answered. No failure of an order is raised."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], tally: Tally, pace: Pace
    ) -> None:
        self._session = session
        self._url = url
        self._bodies = bodies
        self._tally = tally
        self._pace = pace
        self._run = uuid4().hex

    async def send(self, number: int) -> None:
        try:
            status, raw = await self._post(number)
        except (aiohttp.ClientError, OSError) as error:
            self._tally.refused(type(error).__name__, str(error), self._pace.now())
            return
        self._take(number, status, raw, self._pace.now())

    async def _post(self, number: int) -> tuple[int, bytes]:
        headers = {"Idempotency-Key": f"{self._run}-{number}"}
        async with self._session.post(self._url + CREATE_PATH, data=self._bodies[number], headers=headers) as response:
            return response.status, await response.read()

    def _take(self, number: int, status: int, raw: bytes, at: float) -> None:
        if status in {200, 201}:
            try:
                self._tally.accepted(number, _accepted.decode(raw).order_id, at)
            except msgspec.DecodeError:
                self._tally.refused("unreadable", "the answer names no order", at)
            return
        error = refusal(self._url, status, raw)
        reason = error.reason if isinstance(error, RefusedByApi) else str(error)
        self._tally.refused(str(status), reason, at)
