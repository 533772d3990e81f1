"""Idempotency keys: the first answer is kept with the order, and given again to whoever repeats the request.

The key's row is claimed at the beginning of the transaction that stores the order and holds the answer when it commits:
there is no order without its key, no key without its order, and nothing of a request that failed. A second request
under the key waits for the first one's transaction.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from orderflow.contexts.order.tables import idempotency_keys
from orderflow.gateway.problems import Problem
from orderflow.gateway.store import LOCK_PATIENCE, RETRY_AFTER, Locked, is_locked

LIFETIME: Final = timedelta(hours=24)

SWEEP_AT_ONCE: Final = 500
"""Expired keys deleted per transaction: some milliseconds' worth."""


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and the principal it belongs to: others may use the same text for their own."""

    principal: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a client, to the byte, and the order that it is about."""

    order_id: str
    status: int
    body: bytes
    headers: dict[str, str]


def claim(connection: Connection, key: Key, request_hash: str, order_id: str, now: datetime) -> Answer | None:
    """Claim ``key`` for this transaction, or return the answer that it got before.

    Raises:
        Problem: 422 where the key was used for another request.
        Locked: another transaction holds the key, and has for as long as a request waits.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(idempotency_keys).values(
        principal=key.principal,
        key=key.text,
        request_hash=request_hash,
        status_code=None,
        response=None,
        headers=None,
        order_id=order_id,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    taken_over = {
        name: insert.excluded[name]
        for name in ("request_hash", "status_code", "response", "headers", "order_id", "created_at", "expires_at")
    }
    statement = insert.on_conflict_do_update(
        index_elements=["principal", "key"], set_=taken_over, where=idempotency_keys.c.expires_at <= now
    ).returning(idempotency_keys.c.key)
    try:
        claimed = connection.execute(statement).first()
    except DBAPIError as error:
        if is_locked(error):
            raise Locked("another request holds the key") from error
        raise
    return None if claimed else _answered(connection, key, request_hash)


def _answered(connection: Connection, key: Key, request_hash: str) -> Answer:
    table = idempotency_keys.c
    row = connection.execute(
        select(table.request_hash, table.order_id, table.status_code, table.response, table.headers).where(
            table.principal == key.principal, table.key == key.text
        )
    ).one()
    if row.request_hash != request_hash:
        raise Problem(
            422,
            "idempotency-key-reused",
            "the first request under this key had another body; use a new key for another order",
            field="Idempotency-Key",
        )
    headers = msgspec.json.decode(row.headers, type=dict[str, str])
    return Answer(row.order_id, row.status_code, row.response, headers)


def remember(connection: Connection, key: Key, answer: Answer) -> None:
    """Keep ``answer`` under the key that this transaction has claimed."""
    table = idempotency_keys.c
    connection.execute(
        idempotency_keys.update()
        .where(table.principal == key.principal, table.key == key.text)
        .values(status_code=answer.status, response=answer.body, headers=msgspec.json.encode(answer.headers).decode())
    )


def forget_expired(connection: Connection, now: datetime) -> int:
    """Delete some keys whose time is over, none that somebody is at work on, and return how many."""
    table = idempotency_keys.c
    expired = (
        select(table.principal, table.key)
        .where(table.expires_at <= now)
        .limit(SWEEP_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    rows = [tuple(row) for row in connection.execute(expired)]
    if rows:
        connection.execute(delete(idempotency_keys).where(tuple_(table.principal, table.key).in_(rows)))
    return len(rows)


def in_flight() -> Problem:
    """Return the 409 for a key whose first request is not done."""
    return Problem(
        409,
        "idempotency-key-in-flight",
        "the first request under this key is still at work; ask again under the same key",
        field="Idempotency-Key",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


class Turns:
    """Lets the requests of one process that share a key go one after another, without a thread for the waiting ones."""

    def __init__(self, patience: float = LOCK_PATIENCE) -> None:
        self._patience = patience
        self._at_work: dict[Key, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, key: Key) -> AsyncIterator[None]:
        """Wait until nobody else here is at work under ``key``.

        Raises:
            Problem: 409 where that takes more than the patience.
        """
        try:
            async with asyncio.timeout(self._patience):
                while (other := self._at_work.get(key)) is not None:
                    await other.wait()
        except TimeoutError:
            raise in_flight() from None
        done = self._at_work[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._at_work[key]
            done.set()
