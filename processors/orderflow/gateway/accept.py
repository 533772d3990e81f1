"""What changes orders: taking one in, and setting one's status. Decided and recorded at once, in one transaction.

An order, its idempotency key and its first messages are stored together or not at all; then the client is answered, and
then the messages go out. A commit whose acknowledgement was lost is noticed by the next attempt, which finds the order.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from orderflow.contexts.order import reads
from orderflow.contexts.order.tables import ORDERS
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.decision import Refused
from orderflow.contracts.envelope import Message
from orderflow.gateway import idempotency
from orderflow.gateway.cache import Cache
from orderflow.gateway.grouped_writes import Locked
from orderflow.gateway.idempotency import Answer, Key, Turns
from orderflow.gateway.invalidation import order_entries
from orderflow.gateway.order_requests import OrderBody, Origin, StatusBody, change_status, create_order
from orderflow.gateway.problems import Problem, not_found, refusal
from orderflow.gateway.requests import body_of, content_hash, decoded, idempotency_key_of, principal_of
from orderflow.gateway.store import Store
from orderflow.gateway.tracing import Trace, trace_of
from orderflow.runtime import inbox, outbox
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.clock import Clock
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.direct import Applied

log = structlog.get_logger(__name__)
T = TypeVar("T")

CONTEXT = "order"
ORDER_PATH = "/api/orders/{orderId}"
MARK_AFTER = 0.03
"""Seconds: the order's processor holds its next message until the ones before it are marked, and a hop of a saga takes
so long."""

_orders = msgspec.json.Decoder(OrderBody)
_statuses = msgspec.json.Decoder(StatusBody)


class Decides(Protocol):
    """Decides one message in the caller's transaction: :class:`~orderflow.runtime.direct.Direct`."""

    def apply(self, connection: Connection, message: Message, traceparent: str | None = None) -> Applied:
        """Decide and record ``message``."""


class TakesOut(Protocol):
    """Publishes what was committed: :class:`~orderflow.runtime.outgoing.Outgoing`."""

    def take_acknowledged(self) -> list[str]:
        """Return the event ids of published rows that are not marked yet; the caller marks them."""

    def marked(self, event_ids: Collection[str]) -> None:
        """Take note that rows have been marked."""

    def hand_over(self, rows: Sequence[OutboxRow], blocked: Mapping[str, set[str]] | None = None) -> None:
        """Take rows that have been committed; see there for ``blocked``."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Under which key an order is taken, and what its request holds."""

    key: Key
    request_hash: str


@dataclass(frozen=True, kw_only=True)
class Taking:
    """One order on its way in: what is decided, and how it is answered. All of it stays the same over the attempts."""

    decides: Decides
    command: CreateOrder
    traceparent: str
    status: int
    headers: dict[str, str]
    claim: Claim | None

    def __call__(self, connection: Connection, attempt: int) -> tuple[Answer, Applied | None]:
        """Store the order and its key; or return the answer that was given before, with nothing to publish.

        Raises:
            Problem: the key was used for another request.
            Refused: there can be no such order.
        """
        before = self._before(connection, attempt)
        if before is not None:
            return before, None
        applied = self.decides.apply(connection, self.command, self.traceparent)
        order = applied.decision.state
        answer = self._answer(reads.view_of(order) if order is not None else None)
        if self.claim is not None:
            idempotency.remember(connection, self.claim.key, answer)
        return answer, applied

    def _before(self, connection: Connection, attempt: int) -> Answer | None:
        if self.claim is not None:
            now, order_id = self.command.requested_at, self.command.order_id
            return idempotency.claim(connection, self.claim.key, self.claim.request_hash, order_id, now)
        if attempt and _is_recorded(connection, self.command):
            return self._answer(reads.order(connection, self.command.order_id))
        return None

    def _answer(self, view: reads.OrderView | None) -> Answer:
        return Answer(self.command.order_id, self.status, msgspec.json.encode(view), self.headers)


class OrderCommands:
    """The endpoints that change orders.

    Args:
        store: on the order context's database.
        decides: what decides and records there.
        takes_out: what publishes rows after the commit.
        leave: called when this process's revision has been removed.
    """

    def __init__(
        self,
        *,
        store: Store,
        decides: Decides,
        takes_out: TakesOut,
        cache: Cache,
        clock: Clock,
        leave: Callable[[], None],
    ) -> None:
        self._store = store
        self._decides = decides
        self._takes_out = takes_out
        self._cache = cache
        self._clock = clock
        self._leave = leave
        self._turns = Turns()

    async def create(self, request: Request) -> Response:
        """Take an order and answer 200; the key is optional."""
        return await self._create(request, 200, located=False)

    async def create_at_location(self, request: Request) -> Response:
        """Take an order and answer 201 with its location; every request needs a key."""
        return await self._create(request, 201, located=True)

    async def _create(self, request: Request, status: int, *, located: bool) -> Response:
        key = idempotency_key_of(request, required=located)
        body = await body_of(request)
        trace = trace_of(request)
        origin = self._origin(trace, str(uuid4()))
        taking = Taking(
            decides=self._decides,
            command=create_order(decoded(body, _orders), origin),
            traceparent=trace.traceparent,
            status=status,
            headers={"Location": ORDER_PATH.format(orderId=origin.order_id)} if located else {},
            claim=Claim(key=Key(principal_of(request), key), request_hash=content_hash(body)) if key else None,
        )
        answer, applied = await self._take(taking)
        self._do(applied)
        trace.correlation_id = trace.correlation_id or answer.order_id
        log.info("order accepted" if applied else "answer repeated", orderId=answer.order_id, status=answer.status)
        return Response(answer.body, answer.status, answer.headers, "application/json")

    async def _take(self, taking: Taking) -> tuple[Answer, Applied | None]:
        if taking.claim is None:
            return await self._write(taking)
        async with self._turns.turn(taking.claim.key):
            try:
                # Where a lock is on everything, its holder need not have to do with the key: then it is the store that
                # is busy, and whoever shares the key in this process has been waited for already.
                return await self._write(taking, wait_for_locks=not self._store.locks_rows)
            except Locked:
                raise idempotency.in_flight() from None

    async def change_status(self, request: Request) -> Response:
        """Set an order's status and answer 204."""
        trace = trace_of(request)
        origin = self._origin(trace, request.path_params["orderId"])
        trace.correlation_id = origin.correlation_id
        command = change_status(decoded(await body_of(request), _statuses), origin)
        try:
            applied = await self._write(partial(self._change, command, trace.traceparent))
        finally:
            # Whatever became of it: a commit may have happened although nobody was told.
            await self._cache.drop(order_entries(origin.order_id))
        self._do(applied)
        log.info("status set", orderId=origin.order_id, status=command.status)
        return Response(status_code=204)

    def _change(
        self, command: ChangeOrderStatus, traceparent: str, connection: Connection, attempt: int
    ) -> Applied | None:
        if not ORDERS.versions(connection, [command.order_id], lock=False):
            raise not_found("order", "orderId")
        if attempt and _is_recorded(connection, command):
            return None
        return self._decides.apply(connection, command, traceparent)

    def _origin(self, trace: Trace, order_id: str) -> Origin:
        # Unless somebody says otherwise, an order's story is known by the order's id.
        correlation_id = trace.correlation_id or order_id
        structlog.contextvars.bind_contextvars(correlationId=correlation_id)
        return Origin(order_id=order_id, event_id=str(uuid4()), correlation_id=correlation_id, at=self._clock.now())

    async def _write(self, work: Callable[[Connection, int], T], *, wait_for_locks: bool = True) -> T:
        """Do ``work`` in one transaction, which takes along the marks of what has been published meanwhile."""
        acknowledged = self._takes_out.take_acknowledged()

        def all_of_it(connection: Connection, attempt: int) -> T:
            outbox.mark_published(connection, acknowledged, self._clock.now())
            return work(connection, attempt)

        try:
            done = await self._store.write(all_of_it, wait_for_locks=wait_for_locks)
            self._takes_out.marked(acknowledged)
            return done
        except Refused as refused:
            raise refusal(refused) from None
        except RevisionRemoved:
            self._leave()
            raise Problem(
                503,
                "revision-removed",
                "this revision may write no more; another instance takes the request",
                headers={"Retry-After": "1", "Connection": "close"},
            ) from None

    def _do(self, applied: Applied | None) -> None:
        if applied is not None:
            self._takes_out.hand_over(applied.outbox, applied.blocked)


def _is_recorded(connection: Connection, message: Message) -> bool:
    """Tell whether an earlier attempt was committed after all."""
    return bool(inbox.known(connection, CONTEXT, [message.event_id]))


async def forget_expired_keys(store: Store, now: Callable[[], datetime]) -> None:
    """Delete the idempotency keys whose time is over, a few per transaction so that no order waits for it."""
    while await store.write(lambda connection, _: idempotency.forget_expired(connection, now())):
        pass
