"""The order API as one process of the simulation."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from orderflow.contexts.order.tables import ORDERS
from orderflow.contracts.commands import ChangeOrderStatus
from orderflow.contracts.decision import Refused
from orderflow.contracts.identity import derive
from orderflow.contracts.items import RequestedItem
from orderflow.gateway.accept import MARK_AFTER, Claim, Taking
from orderflow.gateway.idempotency import Answer, Key
from orderflow.gateway.order_requests import (
    CustomerBody,
    OrderBody,
    Origin,
    RecipientBody,
    StatusBody,
    change_status,
    create_order,
)
from orderflow.gateway.requests import content_hash
from orderflow.gateway.store import is_transient
from orderflow.runtime import inbox
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.direct import Applied, Direct
from orderflow.runtime.outgoing import Outgoing
from orderflow.simulation.life import Life
from orderflow.simulation.plan import Changing, Ordering
from orderflow.simulation.process import Place, Process

T = TypeVar("T")

RETRIES = 3


class NoAnswer(Exception):  # noqa: N818 - says what the client got
    """The client does not know what became of the request."""


class OrderApi(Process):
    """One life of the order API's process."""

    def __init__(self, place: Place, life: Life, revision: str) -> None:
        super().__init__(place, life, revision)
        self._direct = Direct(place.context, life.clock, revision)
        self.outgoing = Outgoing(self.line, place.engine, self._sql, life.clock, mark_after=MARK_AFTER)

    def start(self) -> None:
        """Begin."""
        super().start()
        self.life.spawn(self.outgoing.start())

    async def place(self, order: Ordering, request: int) -> Answer:
        """Take an order as a client's ``request``-th attempt, under the order's name as the key.

        Raises:
            NoAnswer: the process or its store has failed meanwhile.
        """
        order_id = order.name if request == 1 else f"{order.name}~{request}"
        origin = Origin(
            order_id=order_id, event_id=derive(order_id, "create"), correlation_id=order_id, at=self.life.clock.now()
        )
        taking = Taking(
            decides=self._direct,
            command=create_order(_body_of(order), origin),
            traceparent="",
            status=201,
            headers={},
            claim=Claim(key=Key("client", order.name), request_hash=content_hash(msgspec.json.encode(_body_of(order)))),
        )
        answer, applied = await self._answered(taking)
        if applied is not None:
            self._note(f"accepts {order_id}")
        else:
            self._story.reach("idempotency key answered again")
        self._do(applied)
        return answer

    async def change(self, order_id: str, change: Changing, request: int) -> bool:
        """Set an order's status as a client's ``request``-th attempt; tell whether that was allowed.

        Raises:
            NoAnswer: the process or its store has failed meanwhile.
        """
        event_id = derive(order_id, change.status, str(change.at), str(request))
        origin = Origin(order_id=order_id, event_id=event_id, correlation_id=order_id, at=self.life.clock.now())
        command = change_status(StatusBody(status=change.status, reason="changed my mind"), origin)
        try:
            applied = await self._answered(lambda connection, attempt: self._change(connection, command, attempt))
        except Refused:
            return False
        self._note(f"sets {order_id} to {change.status}")
        self._do(applied)
        return True

    def _change(self, connection: Connection, command: ChangeOrderStatus, attempt: int) -> Applied | None:
        if attempt and inbox.known(connection, "order", [command.event_id]):
            return None
        if not ORDERS.versions(connection, [command.order_id], lock=False):
            return None
        return self._direct.apply(connection, command)

    def _do(self, applied: Applied | None) -> None:
        if applied is not None:
            self.outgoing.hand_over(applied.outbox, applied.blocked)

    async def _answered(self, work: Callable[[Connection, int], T]) -> T:
        """Do ``work`` in one transaction, as the gateway's store does: again where that may help."""
        doing = self.life.spawn(self._tried(work))
        try:
            return await doing
        except asyncio.CancelledError:
            if not doing.cancelled():
                raise
            raise NoAnswer from None

    async def _tried(self, work: Callable[[Connection, int], T]) -> T:
        for attempt in range(RETRIES + 1):
            try:
                return await self._sql.run(self._transact, work, attempt)
            except RevisionRemoved:
                self.leave()
                raise NoAnswer from None
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(self.life.span("store-backoff", 0.025, 0.2))
        raise NoAnswer

    def _transact(self, work: Callable[[Connection, int], T], attempt: int) -> T:
        with self._engine.begin() as connection:
            return work(connection, attempt)


def _body_of(order: Ordering) -> OrderBody:
    """Return the request's body: a client repeats it to the byte."""
    return OrderBody(
        items=tuple(
            RequestedItem(product_id=product, quantity=quantity, price=PRICES[product])
            for product, quantity in order.pieces
        ),
        customer=CustomerBody(customer_id="ada", name="Ada"),
        recipient=RecipientBody(email="ada@example.com" if order.known else None),
        flow=order.flow,
    )


PRICES: Mapping[str, Decimal] = {"lamp": Decimal("10.00"), "mug": Decimal("4.50")}
