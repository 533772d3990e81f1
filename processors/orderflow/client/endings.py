"""How a load sees its orders end.

From the broker, as the messages that say so arrive: exact, and it costs the system next to nothing. Where the load does
not know the system's broker it asks the API for its newest orders now and then; that is as exact as it is frequent.
"""

import asyncio
import itertools
import logging
from typing import Final, Literal, Protocol

import msgspec

from orderflow.client.api import OrderApi
from orderflow.client.failures import ClientError, RefusedByApi
from orderflow.client.figures import Ending, Tally
from orderflow.client.pace import Pace
from orderflow.contracts.decision import Refused
from orderflow.contracts.topics import ORDER_EVENTS
from orderflow.saga.flow import BUILT_IN, FlowBook, Words
from orderflow.spec.deployment import Deployment
from orderflow.spec.resource import OrderFlow

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the API's list."""

LARGEST_PAGE: Final = 200
"""Of the API's list."""

GAP: Final = 0.005
"""Seconds between two fetches: so much later than it could an end may be seen, at the most."""

BROKER_PATIENCE: Final = 10.0
"""Seconds until a broker that does not say where its partitions end counts as away."""


class Endings(Protocol):
    """Tells a tally which orders have ended."""

    observed: Literal["broker", "api"]

    async def start(self) -> None:
        """Be ready: no end after this is missed.

        Raises:
            ClientError: what has to be watched cannot be.
        """

    async def watch(self, tally: Tally) -> None:
        """Tell ``tally``, until cancelled."""

    async def stop(self) -> None:
        """Let go of all connections."""


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    event_type: str
    order_id: str = ""
    final_status: str | None = None


_events = msgspec.json.Decoder(_Event)


def ending_in(value: bytes, at: float, words: Words) -> tuple[str, Ending] | None:
    """Return which order has ended and how, if that is what a message on the order's events' topic says.

    Args:
        value: the record's.
        at: when it arrived.
        words: of the orders' flow, for what the message does not say.
    """
    try:
        event = _events.decode(value)
    except msgspec.DecodeError:
        return None
    match event.event_type:
        case "OrderCompleted":
            return event.order_id, Ending(at=at, status=words.completed, completed=True)
        case "OrderCancelled":
            return event.order_id, Ending(at=at, status=event.final_status or words.cancelled, completed=False)
        case _:
            return None


class BrokerEndings:
    """Reads the order's events where they arrive, as a reader without a group: nobody else's position changes.

    Args:
        deployment: of the running system.
        words: of the flow that the orders take.
    """

    observed: Literal["broker", "api"] = "broker"

    def __init__(self, deployment: Deployment, words: Words, pace: Pace) -> None:
        from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: PLC0415 - not where the API is asked instead

        # What it has to say of a broker that is away is said by our own sentence.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        self._deployment = deployment
        self._words = words
        self._pace = pace
        topic = deployment.topic_prefix + ORDER_EVENTS
        self._partitions = [TopicPartition(topic, number) for number in range(deployment.partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=deployment.broker, client_id="orderflow-load", enable_auto_commit=False
        )

    async def start(self) -> None:
        """See :class:`Endings`."""
        from aiokafka.errors import KafkaError  # noqa: PLC0415

        from orderflow.runtime.pacing import pace  # noqa: PLC0415

        try:
            async with asyncio.timeout(BROKER_PATIENCE):
                await self._consumer.start()
                pace(self._consumer, GAP)
                self._consumer.assign(self._partitions)
                await self._consumer.seek_to_end(*self._partitions)
                for partition in self._partitions:
                    await self._consumer.position(partition)
        except (KafkaError, TimeoutError, OSError):
            raise ClientError(
                f"no broker with the system's topics answers at {self._deployment.broker}: is the system up?"
            ) from None

    async def watch(self, tally: Tally) -> None:
        """See :class:`Endings`."""
        from aiokafka.errors import KafkaError  # noqa: PLC0415

        while True:
            try:
                arrived = await self._consumer.getmany(timeout_ms=1000)
            except KafkaError as error:
                raise ClientError(f"the broker tells of no more ends: {type(error).__name__}") from None
            at = self._pace.now()
            for record in itertools.chain.from_iterable(arrived.values()):
                found = ending_in(record.value or b"", at, self._words)
                if found is not None:
                    tally.ended(*found)

    async def stop(self) -> None:
        """See :class:`Endings`."""
        await self._consumer.stop()


class ApiEndings:
    """Asks the order API for its newest orders, page by page, until all those have been seen that have not ended.

    Which statuses are ends it knows of the built-in flows; of any other, it takes the default flow's words.
    """

    observed: Literal["broker", "api"] = "api"

    def __init__(self, api: OrderApi, pace: Pace) -> None:
        self._api = api
        self._pace = pace
        self._words = {flow.name: flow.words or Words() for flow in BUILT_IN}

    async def start(self) -> None:
        """See :class:`Endings`."""

    async def watch(self, tally: Tally) -> None:
        """See :class:`Endings`."""
        while True:
            await self._pace.sleep(LOOK_EVERY)
            try:
                await self._look(tally)
            except RefusedByApi as error:
                if error.status < 500:
                    raise
            except ClientError:
                pass  # a system that restarts; the load's own patience is the limit

    async def _look(self, tally: Tally) -> None:
        wanted, cursor = set(tally.outstanding), ""
        while wanted:
            query = {"limit": str(LARGEST_PAGE), **({"cursor": cursor} if cursor else {})}
            page = (await self._api.orders(query)).value
            at = self._pace.now()
            for order in page.orders:
                wanted.discard(order.order_id)
                words = self._words.get(order.flow, Words())
                if order.status in {words.completed, words.cancelled}:
                    completed = order.status == words.completed
                    tally.ended(order.order_id, Ending(at=at, status=order.status, completed=completed))
            if not page.next_cursor:
                return
            cursor = page.next_cursor

    async def stop(self) -> None:
        """See :class:`Endings`."""


def words_of(resource: OrderFlow, flow: str | None) -> Words:
    """Return the words of the flow that an order of the default tenant takes.

    Raises:
        ClientError: there is no such flow.
    """
    spec = resource.spec
    book = FlowBook(spec.flows, spec.default_flow, spec.flow_of_tenant)
    try:
        return book.choose(flow, "default").words
    except Refused as refused:
        raise ClientError(refused.reason) from None
