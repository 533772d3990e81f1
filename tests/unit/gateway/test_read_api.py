from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, Engine
from starlette.applications import Starlette

from orderflow.contracts.decision import Call, Refused
from orderflow.gateway.health import Check
from orderflow.gateway.reads import read_api
from orderflow.gateway.store import Store
from orderflow.runtime.schema import audit_trail, tasks

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Thing(msgspec.Struct, rename="camel"):
    thing_id: str
    colour: str | None


def thing(_connection: Connection, parameters: Mapping[str, str]) -> Thing | None:
    if parameters.get("colour") == "none":
        raise Refused("colour", "there is no such colour")
    known = parameters["thingId"] == "known"
    return Thing(parameters["thingId"], parameters.get("colour")) if known else None


async def well() -> None:
    pass


@pytest.fixture
def app(store: Store) -> Starlette:
    return read_api("payment", store, {"/things/{thingId}": thing}, [Check(name="database", look=well)])


def record(engine: Engine, key: str, after: str, at: datetime = NOON) -> None:
    row = {"key": key, "event_id": "e-1", "event_type": "OrderPaymentRequested", "before": "", "after": after}
    row |= {"step": "payment", "attempt": 2, "detail": "", "correlation_id": "story", "occurred_at": at}
    with engine.begin() as connection:
        connection.execute(audit_trail.insert().values(recorded_at=at + timedelta(milliseconds=5), **row))


def call(engine: Engine, key: str, status: str, failed: int) -> None:
    body = Call(task_id=f"t-{status}", provider="card", operation="charge", key="k", arguments={"name": "secret"})
    with engine.begin() as connection:
        connection.execute(
            tasks.insert().values(
                task_id=body.task_id, kind="call", key=key, status=status, due_at=NOON, attempts=failed,
                unclear=False, body=msgspec.json.encode(body), cause="{}", created_at=NOON, last_error="Unavailable",
            )
        )  # fmt: skip


async def test_a_route_shows_what_its_function_returns(app: Starlette, ask) -> None:  # type: ignore[no-untyped-def]
    answer = await ask(app, "GET", "/things/known?colour=red")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"thingId": "known", "colour": "red"}


async def test_what_is_not_there_is_a_404_as_problem_json(app: Starlette, ask) -> None:  # type: ignore[no-untyped-def]
    answer = await ask(app, "GET", "/things/other")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["field"] == "thingId"


async def test_a_parameter_that_cannot_be_is_a_400_that_names_it(app: Starlette, ask) -> None:  # type: ignore[no-untyped-def]
    answer = await ask(app, "GET", "/things/known?colour=none")
    assert (answer.status, answer.json()["field"]) == (400, "colour")
