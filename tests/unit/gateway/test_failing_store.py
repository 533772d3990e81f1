import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from api.order_system import OrderSystem
from orderflow.contexts.order.tables import orders
from orderflow.runtime.rows import StaleState
from orderflow.runtime.schema import allowed_revisions


def database_error() -> OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return OperationalError("INSERT", {"customer_name": "Erika"}, error)


@pytest.mark.parametrize("key", [None, "k-1"], ids=["no key", "key"])
async def test_a_transient_failure_is_retried_and_nobody_notices(system: OrderSystem, key: str | None) -> None:
    system.decides.before = [database_error(), StaleState("moved on"), database_error()]
    assert (await system.post(key=key)).status == 200
    assert system.count(orders) == 1


@pytest.mark.parametrize("key", [None, "k-1"], ids=["no key", "key"])
async def test_after_bounded_retries_it_is_a_503_with_retry_after_that_is_not_remembered(
    system: OrderSystem, key: str | None
) -> None:
    system.decides.before = [database_error() for _ in range(4)]
    answer = await system.post(key=key)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:orderflow:problem:store-unavailable"
    assert not any(system.stored())
    assert not system.published.rows
    assert (await system.post(key=key)).status == 200


@pytest.mark.parametrize("key", [None, "k-1"], ids=["no key", "key"])
async def test_a_commit_whose_acknowledgement_was_lost_makes_no_second_order(
    system: OrderSystem, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, lost = system.store._transact, [database_error()]

    def lose_the_first(work: Any, attempt: int) -> Any:
        done = transact(work, attempt)
        if lost:
            raise lost.pop()
        return done

    monkeypatch.setattr(system.store, "_transact", lose_the_first)
    answer = await system.post(key=key)
    assert answer.status == 200
    assert system.count(orders) == 1
    monkeypatch.undo()
    assert (await system.get(f"/api/orders/{answer.json()['orderId']}")).json() == answer.json()


async def test_a_status_set_by_a_commit_whose_acknowledgement_was_lost_is_set_once(
    system: OrderSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = (await system.post()).json()["orderId"]
    transact, lost = system.store._transact, [database_error()]

    def lose_the_first(work: Any, attempt: int) -> Any:
        done = transact(work, attempt)
        if lost:
            raise lost.pop()
        return done

    monkeypatch.setattr(system.store, "_transact", lose_the_first)
    assert (await system.patch(order_id, b'{"status":"Cancelled"}')).status == 204
    assert len(system.decides.applied) == 2


async def test_a_removed_revision_stores_nothing_and_leaves(system: OrderSystem) -> None:
    with system.engine.begin() as connection:
        connection.execute(allowed_revisions.delete())
    answer = await system.post()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert system.left
    assert not any(system.stored())
