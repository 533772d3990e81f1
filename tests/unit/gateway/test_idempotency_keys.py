import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from api.order_system import WALKTHROUGH, OrderSystem
from orderflow.contexts.order.tables import idempotency_keys, orders
from orderflow.gateway import idempotency
from orderflow.gateway.accept import forget_expired_keys
from orderflow.gateway.problems import Problem


async def test_the_same_key_and_body_get_the_first_answer_again_to_the_byte(system: OrderSystem) -> None:
    first = await system.post(path="/orders", key="k-1")
    again = await system.post(path="/orders", key="k-1")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["x-correlation-id"] == first.headers["x-correlation-id"]
    assert system.count(orders) == 1
    assert len(system.published.rows) == 2


async def test_the_repeat_is_the_first_answer_even_when_the_order_has_moved_on(system: OrderSystem) -> None:
    first = await system.post(key="k-1")
    assert (await system.patch(first.json()["orderId"], b'{"status":"Cancelled"}')).status == 204
    assert (await system.post(key="k-1")).body == first.body


async def test_the_first_answer_keeps_its_status_at_the_other_endpoint(system: OrderSystem) -> None:
    created = await system.post(path="/orders", key="k-1")
    elsewhere = await system.post(path="/api/orders", key="k-1")
    assert (elsewhere.status, elsewhere.body) == (201, created.body)
    accepted = await system.post(path="/api/orders", key="k-2")
    assert (await system.post(path="/orders", key="k-2")).status == accepted.status == 200


async def test_the_same_json_in_another_writing_is_the_same_body(system: OrderSystem) -> None:
    first = await system.post(key="k-1")
    spaced = b'{ "items": [{"quantity": 1, "productId": "sku-1"}], "customerName": "Test", "customerId": "test-1" }'
    assert (await system.post(spaced, key="k-1")).body == first.body


async def test_the_same_key_with_another_body_is_a_422(system: OrderSystem) -> None:
    await system.post(key="k-1")
    before = system.stored()
    answer = await system.post(WALKTHROUGH.replace(b'"quantity":1', b'"quantity":2'), key="k-1")
    assert (answer.status, answer.json()["field"]) == (422, "Idempotency-Key")
    assert answer.json()["type"] == "urn:orderflow:problem:idempotency-key-reused"
    assert system.stored() == before


async def test_without_a_key_every_request_is_an_order(system: OrderSystem) -> None:
    one, other = await system.post(), await system.post()
    assert one.json()["orderId"] != other.json()["orderId"]
    assert system.count(idempotency_keys) == 0


async def test_a_key_lasts_24_hours_and_can_then_be_used_again(system: OrderSystem) -> None:
    first = await system.post(key="k-1")
    system.time.at += timedelta(hours=23, minutes=59, seconds=59)
    assert (await system.post(key="k-1")).body == first.body
    system.time.at += timedelta(seconds=1)
    other = await system.post(key="k-1")
    assert other.json()["orderId"] != first.json()["orderId"]
    assert (await system.post(key="k-1")).body == other.body


async def test_an_expired_key_may_come_with_another_body(system: OrderSystem) -> None:
    await system.post(key="k-1")
    system.time.at += timedelta(hours=24)
    body = WALKTHROUGH.replace(b'"quantity":1', b'"quantity":2')
    assert (await system.post(body, key="k-1")).json()["total"] == "39.98"


async def test_expired_keys_are_deleted_and_others_stay(system: OrderSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "SWEEP_AT_ONCE", 2)
    for number in range(5):
        await system.post(key=f"old-{number}")
    system.time.at += timedelta(hours=24)
    await system.post(key="new")
    await forget_expired_keys(system.store, system.time.now)
    with system.engine.connect() as connection:
        assert connection.scalars(select(idempotency_keys.c.key)).all() == ["new"]


async def test_a_key_belongs_to_its_principal(system: OrderSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = await system.post(key="k-1")
    monkeypatch.setattr("orderflow.gateway.accept.principal_of", lambda _request: "somebody else")
    theirs = await system.post(WALKTHROUGH.replace(b"test-1", b"test-2"), key="k-1")
    assert theirs.status == 200
    assert theirs.json()["orderId"] != mine.json()["orderId"]


async def test_two_requests_under_one_key_at_once_are_one_order(system: OrderSystem) -> None:
    answers = await asyncio.gather(*(system.post(key="k-1") for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert system.count(orders) == 1


async def test_a_repeat_waits_for_the_first_request_and_is_a_409_if_that_takes_too_long() -> None:
    turns, key = idempotency.Turns(patience=0.01), idempotency.Key("anonymous", "k-1")
    async with turns.turn(key):
        with pytest.raises(Problem) as refused:
            async with turns.turn(key):
                raise AssertionError("the first one is not done")
        assert (refused.value.status, refused.value.headers) == (409, {"Retry-After": "1"})
        async with turns.turn(idempotency.Key("somebody else", "k-1")):
            pass
    async with turns.turn(key):
        pass


async def test_a_refused_request_is_not_remembered_under_its_key(system: OrderSystem) -> None:
    unknown = b'{"customerId":"c","items":[{"productId":"nope","quantity":1}]}'
    assert (await system.post(unknown, key="k-1")).status == 422
    assert (await system.post(key="k-1")).status == 200
