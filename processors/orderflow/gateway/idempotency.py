"""Idempotency keys: the first answer is kept with the order, and given again to whoever repeats the request.

The key's row is claimed at the beginning of the transaction that stores the order and holds the answer when it commits:
there is no order without its key, no key without its order, and nothing of a request that failed. A second request
under the key waits for the first one's transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from orderflow.contexts.order.tables import idempotency_keys
from orderflow.gateway.problems import Problem
from orderflow.gateway.store import LOCK_PATIENCE, RETRY_AFTER, Locked
from orderflow.runtime.database import is_locked
from orderflow.runtime.statements import Statement

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
    values = {
        "principal": key.principal,
        "key": key.text,
        "request_hash": request_hash,
        "order_id": order_id,
        "created_at": now,
        "expires_at": now + LIFETIME,
    }
    try:
        claimed = _CLAIM[connection.dialect.name].rows(connection, values)
    except DBAPIError as error:
        if is_locked(error):
            raise Locked("another request holds the key") from error
        raise
    return None if claimed else _answered(connection, key, request_hash)


def _claiming(insert: postgresql.Insert | sqlite.Insert) -> Statement:
    """Return the statement that inserts a key, or takes an expired one over, and returns it only then."""
    fresh = insert.values(status_code=None, response=None, headers=None)
    columns = ("request_hash", "status_code", "response", "headers", "order_id", "created_at", "expires_at")
    return Statement(
        fresh.on_conflict_do_update(
            index_elements=["principal", "key"],
            set_={name: fresh.excluded[name] for name in columns},
            where=idempotency_keys.c.expires_at <= fresh.excluded.created_at,
        ).returning(idempotency_keys.c.key)
    )


def _answered(connection: Connection, key: Key, request_hash: str) -> Answer:
    ((first_hash, order_id, status, response, headers),) = _ANSWERED.rows(
        connection, {"of_principal": key.principal, "of_key": key.text}
    )
    if first_hash != request_hash:
        raise Problem(
            422,
            "idempotency-key-reused",
            "the first request under this key had another body; use a new key for another order",
            field="Idempotency-Key",
        )
    return Answer(order_id, status, bytes(response), msgspec.json.decode(headers, type=dict[str, str]))


def remember(connection: Connection, key: Key, answer: Answer) -> None:
    """Keep ``answer`` under the key that this transaction has claimed."""
    kept = {
        "status_code": answer.status,
        "response": answer.body,
        "headers": msgspec.json.encode(answer.headers).decode(),
    }
    _REMEMBER.run(connection, {"of_principal": key.principal, "of_key": key.text, **kept})


# Made once: making a statement takes longer than executing it.
_CLAIM: Mapping[str, Statement] = {
    "sqlite": _claiming(sqlite.insert(idempotency_keys)),
    "postgresql": _claiming(postgresql.insert(idempotency_keys)),
}
_AT_KEY = (
    idempotency_keys.c.principal == bindparam("of_principal"),
    idempotency_keys.c.key == bindparam("of_key"),
)
_ANSWERED = Statement(
    select(
        idempotency_keys.c.request_hash,
        idempotency_keys.c.order_id,
        idempotency_keys.c.status_code,
        idempotency_keys.c.response,
        idempotency_keys.c.headers,
    ).where(*_AT_KEY)
)
_REMEMBER = Statement(
    idempotency_keys.update()
    .where(*_AT_KEY)
    .values(status_code=bindparam("status_code"), response=bindparam("response"), headers=bindparam("headers"))
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
