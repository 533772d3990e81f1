"""The order API with real HTTP clients, a real server and both databases. No broker is there: orders are taken in."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, Engine, func, select

from api.serving import Client, client, deployment, serving
from orderflow.contexts.order.tables import idempotency_keys, orders
from orderflow.gateway import idempotency
from orderflow.gateway.idempotency import Answer, Key
from orderflow.gateway.requests import content_hash
from orderflow.runtime.database import open_database
from orderflow.runtime.migrate import migrate
from orderflow.runtime.schema import allowed_revisions, audit_trail, outbox
from orderflow.spec.deployment import Deployment
from servers.postgres import Postgres
from servers.process import free_port

WALKTHROUGH = b'{"customerId":"test-1","customerName":"Test","items":[{"productId":"sku-1","quantity":1}]}'
OTHER = WALKTHROUGH.replace(b'"quantity":1', b'"quantity":2')


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'order.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """What somebody else does in the database goes through here."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def deployed(tmp_path: Path, database_url: str) -> Deployment:
    return deployment(tmp_path, database_url)


@pytest.fixture
async def root(deployed: Deployment) -> AsyncIterator[str]:
    async with serving(deployed) as root:
        yield root


@pytest.fixture
async def one(root: str) -> AsyncIterator[Client]:
    async with client(root) as one:
        yield one


@pytest.fixture
async def other(root: str) -> AsyncIterator[Client]:
    async with client(root) as other:
        yield other


def count(engine: Engine, table: object = orders) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


@contextmanager
def held(engine: Engine, key: str, body: bytes = WALKTHROUGH) -> Iterator[Connection]:
    """Another process's request holds the key's row as long as this lasts; then it has failed, unless it commits."""
    with engine.connect() as connection, connection.begin() as transaction:
        claimed = idempotency.claim(connection, Key("anonymous", key), content_hash(body), "theirs", datetime.now(UTC))
        assert claimed is None
        yield connection
        if transaction.is_active:
            transaction.rollback()


# Two clients, one key


async def test_two_clients_with_one_key_make_one_order_and_get_the_same_bytes(
    one: Client, other: Client, engine: Engine
) -> None:
    for number in range(20):
        first, second = await asyncio.gather(
            *(who.post(WALKTHROUGH, "/orders", Idempotency_Key=f"key-{number}") for who in (one, other))
        )
        assert (first.status, first.body) == (second.status, second.body)
        assert first.status == 201
        assert first.headers["Location"] == second.headers["Location"]
    assert count(engine) == 20


async def test_two_servers_of_one_database_make_one_order_of_one_key(deployed: Deployment, engine: Engine) -> None:
    async with (
        serving(deployed, "order-api-0") as here,
        serving(deployed, "order-api-1") as there,
        client(here) as one,
        client(there) as other,
    ):
        for number in range(20):
            answers = await asyncio.gather(
                *(who.post(WALKTHROUGH, Idempotency_Key=f"key-{number}") for who in (one, other) for _ in range(2))
            )
            assert {answer.status for answer in answers} == {200}
            assert len({answer.body for answer in answers}) == 1
    assert count(engine) == 20


async def test_another_body_under_the_key_is_a_422(one: Client, other: Client, engine: Engine) -> None:
    await one.post(WALKTHROUGH, Idempotency_Key="key")
    answer = await other.post(OTHER, Idempotency_Key="key")
    assert (answer.status, answer.json()["field"]) == (422, "Idempotency-Key")
    assert count(engine) == 1


async def test_a_key_that_another_request_holds_is_waited_for_one_second_and_then_a_409(
    one: Client, other: Client, engine: Engine
) -> None:
    # PostgreSQL holds up the row; SQLite everything, so there it is the first of the two requests that holds the key.
    with held(engine, "key"):
        began = time.monotonic()
        asking = [asyncio.create_task(who.post(WALKTHROUGH, Idempotency_Key="key")) for who in (one, other)]
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        waited = time.monotonic() - began
    answer = done.pop().result()
    await asyncio.gather(*asking)
    assert (answer.status, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert answer.json()["field"] == "Idempotency-Key"
    assert answer.headers["Retry-After"] == "1"
    assert 0.9 < waited < 2.0
    again = await one.post(WALKTHROUGH, Idempotency_Key="key")
    assert again.status == 200
    assert count(engine) == 1


async def test_a_repeat_gets_the_answer_of_the_request_it_has_waited_for(one: Client, engine: Engine) -> None:
    with held(engine, "key") as theirs:
        waiting = asyncio.create_task(one.post(WALKTHROUGH, Idempotency_Key="key"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        answer = Answer("theirs", 201, b'{"orderId":"theirs"}', {"Location": "/api/orders/theirs"})
        idempotency.remember(theirs, Key("anonymous", "key"), answer)
        theirs.commit()
    got = await waiting
    assert (got.status, got.body) == (201, answer.body)
    assert got.headers["Location"] == "/api/orders/theirs"
    assert count(engine) == 0


async def test_a_repeat_goes_first_where_the_request_it_has_waited_for_has_failed(one: Client, engine: Engine) -> None:
    with held(engine, "key"):
        waiting = asyncio.create_task(one.post(WALKTHROUGH, Idempotency_Key="key"))
        await asyncio.sleep(0.3)
    assert (await waiting).status == 200
    assert count(engine) == 1


async def test_other_keys_do_not_wait_where_rows_have_locks_of_their_own(
    one: Client, engine: Engine, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        return  # one lock for the whole database: whoever writes holds every key
    with held(engine, "key"):
        began = time.monotonic()
        assert (await one.post(WALKTHROUGH, Idempotency_Key="other")).status == 200
        assert (await one.post(WALKTHROUGH)).status == 200
        assert time.monotonic() - began < 0.9


# Taking orders in


async def test_an_order_is_stored_with_its_messages_and_seen_by_everybody_at_once(
    one: Client, other: Client, engine: Engine
) -> None:
    order = (await one.post(WALKTHROUGH)).json()
    assert (await other.get(f"/api/orders/{order['orderId']}")).json() == order
    listed = (await other.get("/api/orders?q=test")).json()["orders"]
    assert listed == [order]
    assert count(engine, outbox) == 2


async def test_a_status_that_was_set_is_seen_by_the_other_client_at_once(one: Client, other: Client) -> None:
    for _ in range(10):
        order_id = (await one.post(WALKTHROUGH)).json()["orderId"]
        assert (await other.get(f"/api/orders/{order_id}")).json()["status"] == "Pending"
        assert (await one.ask("PATCH", f"/api/orders/{order_id}/status", b'{"status":"Cancelled"}')).status == 204
        assert (await other.get(f"/api/orders/{order_id}")).json()["status"] == "Compensating"
        assert (await one.ask("PATCH", f"/api/orders/{order_id}/status", b'{"status":"Shipped"}')).status == 409


async def test_a_chunked_body_over_64_kib_is_refused_and_nothing_stored(one: Client, engine: Engine) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 8192

    answer = await one.post(chunks())
    assert (answer.status, answer.json()["field"]) == (413, "body")
    announced = await one.post(b" " * 65537)
    assert announced.status == 413
    assert count(engine) == 0


@pytest.mark.parametrize("path", ["/api/orders/%00", "/api/orders?q=%00", "/api/products/%00"])
async def test_u0000_in_an_address_is_a_400(one: Client, path: str) -> None:
    assert (await one.get(path)).status == 400


async def test_readiness_names_database_migrations_and_the_broker_that_is_away(one: Client) -> None:
    assert (await one.get("/health/live")).status == 200
    ready = await one.get("/health/ready")
    told = msgspec.convert(ready.json()["checks"], list[dict[str, object]])
    assert {str(check["name"]): check["ok"] for check in told} == {
        "database": True,
        "migrations": True,
        "broker": False,
    }
    assert (ready.status, ready.json()["status"]) == (200, "degraded")


async def test_orders_are_taken_fast_enough_without_a_broker(one: Client, other: Client) -> None:
    answers = await asyncio.gather(*(who.post(WALKTHROUGH) for who in (one, other) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}


# A store that is away


async def test_sqlite_held_by_somebody_is_a_503_after_bounded_waits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'order.sqlite'}"
    async with serving(deployment(tmp_path, url)) as root, client(root) as one:
        somebody = sqlite3.connect(tmp_path / "order.sqlite", isolation_level=None)
        somebody.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        answer = await one.post(WALKTHROUGH)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - began < 8
        assert (await one.get("/api/orders")).status == 200
        somebody.rollback()
        somebody.close()
        assert (await one.post(WALKTHROUGH)).status == 200


async def test_postgresql_away_is_a_503_that_the_key_does_not_remember(
    tmp_path: Path, postgres: Postgres, postgres_url: str
) -> None:
    async with serving(deployment(tmp_path, postgres_url)) as root, client(root) as one:
        postgres.stop()
        try:
            answer = await one.post(WALKTHROUGH, Idempotency_Key="key")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await one.get("/api/orders")).status == 503
            ready = await one.get("/health/ready")
            assert ready.status == 503
            away = msgspec.convert(ready.json()["checks"], list[dict[str, object]])
            assert "database" in {check["name"] for check in away if not check["ok"]}
        finally:
            postgres.start()
        again = await one.post(WALKTHROUGH, Idempotency_Key="key")
        assert again.status == 200
        assert (await one.post(WALKTHROUGH, Idempotency_Key="key")).body == again.body


async def test_an_expired_key_is_taken_over_and_one_that_lasts_is_not(engine: Engine, deployed: Deployment) -> None:
    key, began = Key("anonymous", "key"), datetime(2026, 1, 1, tzinfo=UTC)
    with engine.begin() as connection:
        assert idempotency.claim(connection, key, "hash", "o-1", began) is None
        idempotency.remember(connection, key, Answer("o-1", 200, b"first", {}))
    with engine.begin() as connection:
        almost = began + idempotency.LIFETIME - timedelta(microseconds=1)
        assert idempotency.claim(connection, key, "hash", "o-2", almost) == Answer("o-1", 200, b"first", {})
    with engine.begin() as connection:
        assert idempotency.claim(connection, key, "other", "o-3", began + idempotency.LIFETIME) is None


async def test_expired_keys_go_in_spite_of_one_that_somebody_is_at_work_on(
    one: Client, engine: Engine, database_url: str
) -> None:
    del one
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    with engine.begin() as connection:
        for number in range(3):
            idempotency.claim(connection, Key("anonymous", f"old-{number}"), "hash", "o", long_ago)
    if database_url.startswith("sqlite"):
        with engine.begin() as connection:
            assert idempotency.forget_expired(connection, datetime.now(UTC)) == 3
        return
    with held(engine, "old-1"), engine.begin() as connection:
        assert idempotency.forget_expired(connection, datetime.now(UTC)) == 2
    assert count(engine, idempotency_keys) == 1


# As a process


def start(tmp_path: Path, deployed: Deployment, *arguments: str) -> subprocess.Popen[bytes]:
    file = tmp_path / "run.json"
    file.write_bytes(msgspec.json.encode(deployed))
    command = [sys.executable, "-m", "orderflow.cli", "api", *arguments, "--deployment", str(file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def up(one: Client) -> None:
    for _ in range(600):
        try:
            if (await one.get("/health/live")).status == 200:
                return
        except OSError:
            await asyncio.sleep(0.05)
    raise AssertionError("the API did not start")


async def test_on_sigterm_the_process_answers_what_it_is_at_and_ends_well(tmp_path: Path) -> None:
    port = free_port()
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}", port=port)
    process = start(tmp_path, deployed)
    async with client(f"http://127.0.0.1:{port}") as one:
        await up(one)
        somebody = sqlite3.connect(tmp_path / "order.sqlite", isolation_level=None)
        somebody.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(one.post(WALKTHROUGH))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        somebody.rollback()
        somebody.close()
        assert (await waiting).status == 200
    output, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] for line in lines][-1] == "stopped"
    accepted = next(line for line in lines if line["event"] == "order accepted")
    assert {"orderId", "correlationId", "traceId", "level", "time", "service"} <= set(accepted)


async def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}")
    async with serving(deployed) as root:
        taken = deployment(
            tmp_path / "other", f"sqlite:///{tmp_path / 'other.sqlite'}", port=int(root.rpartition(":")[2])
        )
        process = start(tmp_path, taken)
        _, said = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 1
    port = root.rpartition(":")[2]
    assert said.decode() == f"orderflow: cannot listen on port {port} of 127.0.0.1: somebody else is listening there\n"


async def test_a_removed_revision_refuses_and_leaves(tmp_path: Path) -> None:
    port = free_port()
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}", port=port)
    process = start(tmp_path, deployed)
    async with client(f"http://127.0.0.1:{port}") as one:
        await up(one)
        assert (await one.post(WALKTHROUGH)).status == 200
        engine = open_database(deployed.database_url("order"))
        with engine.begin() as connection:
            connection.execute(allowed_revisions.update().values(revision="r2"))
        assert (await one.post(WALKTHROUGH)).status == 503
        assert count(engine) == 1
        engine.dispose()
    await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 78


async def test_the_read_api_of_another_context_is_a_process_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    url = f"sqlite:///{tmp_path / 'payment.sqlite'}"
    migrate("payment", url)
    deployed = deployment(tmp_path, f"sqlite:///{tmp_path / 'order.sqlite'}")
    deployed = msgspec.structs.replace(
        deployed,
        databases={**deployed.databases, "payment": url},
        ports={**deployed.ports, "payment-api": port},
        read_apis={"order": deployed.read_apis["order"], "payment": f"http://127.0.0.1:{port}"},
    )
    process = start(tmp_path, deployed, "payment")
    try:
        async with client(f"http://127.0.0.1:{port}") as reader, serving(deployed) as root, client(root) as one:
            await up(reader)
            ready = await reader.get("/health/ready")
            assert (ready.status, ready.json()["status"]) == (200, "ok")
            assert (await reader.get("/payments/nope")).status == 404
            assert b"orderflow_http_seconds_count" in (await reader.get("/metrics")).body
            order_id = (await one.post(WALKTHROUGH)).json()["orderId"]
            record_transition(url, str(order_id))
            timeline = (await one.get(f"/api/orders/{order_id}/timeline")).json()
            assert timeline["incomplete"] == []
            entries = msgspec.convert(timeline["entries"], list[dict[str, object]])
            assert {str(entry["context"]) for entry in entries} == {"order", "payment"}
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.communicate, timeout=20)
            assert process.returncode == 0
            other_id = (await one.post(WALKTHROUGH)).json()["orderId"]
            timeline = (await one.get(f"/api/orders/{other_id}/timeline")).json()
            assert timeline["incomplete"] == ["payment"]
    finally:
        process.kill()
        process.communicate()


def record_transition(url: str, order_id: str) -> None:
    now = datetime.now(UTC)
    row: dict[str, object] = {"event_id": "e-1", "event_type": "OrderPaymentRequested", "before": "", "step": ""}
    row |= {"after": "REQUESTED", "attempt": 1, "detail": "", "correlation_id": order_id, "recorded_at": now}
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(audit_trail.insert().values(key=order_id, occurred_at=now, **row))
    engine.dispose()
