from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, Engine
from starlette.applications import Starlette

from api.asgi import ask
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
    if parameters["thingId"] == "broken":
        raise KeyError(parameters["name"])
    return Thing(parameters["thingId"], parameters.get("colour")) if parameters["thingId"] == "known" else None


async def well() -> None:
    pass


async def away() -> None:
    raise ConnectionError("refused")


@pytest.fixture
def app(store: Store) -> Starlette:
    return read_api("payment", store, {"/things/{thingId}": thing}, [Check(name="database", look=well)])


def record(engine: Engine, key: str, after: str, at: datetime = NOON) -> None:
    row: dict[str, object] = {
        "key": key,
        "event_id": "e-1",
        "event_type": "OrderPaymentRequested",
        "before": "",
        "after": after,
    }
    row |= {"step": "payment", "attempt": 2, "detail": "why", "correlation_id": "story"}
    with engine.begin() as connection:
        connection.execute(
            audit_trail.insert().values(occurred_at=at, recorded_at=at + timedelta(milliseconds=5), **row)
        )


def call(engine: Engine, key: str, status: str, failed: int) -> None:
    body = Call(task_id=f"t-{status}", provider="card", operation="charge", key="k", arguments={"name": "secret"})
    row = {"task_id": body.task_id, "kind": "call", "key": key, "status": status, "attempts": failed, "cause": "{}"}
    row |= {"unclear": False, "body": msgspec.json.encode(body), "last_error": "Unavailable"}
    with engine.begin() as connection:
        connection.execute(tasks.insert().values(due_at=NOON, created_at=NOON, **row))


async def test_a_route_shows_what_its_function_returns(app: Starlette) -> None:
    answer = await ask(app, "GET", "/things/known?colour=red")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"thingId": "known", "colour": "red"}


async def test_what_is_not_there_is_a_404_as_problem_json(app: Starlette) -> None:
    answer = await ask(app, "GET", "/things/other")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["field"] == "thingId"


async def test_a_parameter_that_cannot_be_is_a_400_that_names_it(app: Starlette) -> None:
    answer = await ask(app, "GET", "/things/known?colour=none")
    assert (answer.status, answer.json()["field"]) == (400, "colour")


async def test_u0000_reaches_no_database(app: Starlette) -> None:
    assert (await ask(app, "GET", "/things/known?colour=%00")).status == 400
    assert (await ask(app, "GET", "/things/\0")).status == 400


async def test_another_path_and_another_method_are_problems_too(app: Starlette) -> None:
    nowhere, posted = await ask(app, "GET", "/nowhere"), await ask(app, "POST", "/things/known")
    assert (nowhere.status, posted.status) == (404, 405)
    assert nowhere.headers["content-type"] == posted.headers["content-type"] == "application/problem+json"
    assert "GET" in posted.headers["allow"]


async def test_a_fault_of_ours_is_a_500_that_tells_nothing_and_is_logged_without_personal_data(
    app: Starlette, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await ask(app, "GET", "/things/broken?name=Erika")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    logged = capsys.readouterr().out
    assert "KeyError" in logged
    assert "Erika" not in logged
    assert b"Erika" not in answer.body


async def test_the_timeline_tells_every_transition_with_cause_attempt_and_time(app: Starlette, engine: Engine) -> None:
    record(engine, "order-1", "REQUESTED")
    record(engine, "order-1", "SUCCEEDED", NOON + timedelta(seconds=1))
    record(engine, "order-2", "REQUESTED")
    timeline = (await ask(app, "GET", "/timeline/order-1")).json()
    assert [entry["to"] for entry in timeline["entries"]] == ["REQUESTED", "SUCCEEDED"]
    assert timeline["entries"][0] == {
        "context": "payment",
        "at": "2026-03-01T12:00:00Z",
        "recordedAt": "2026-03-01T12:00:00.005000Z",
        "from": "",
        "to": "REQUESTED",
        "cause": {"eventId": "e-1", "eventType": "OrderPaymentRequested"},
        "correlationId": "story",
        "step": "payment",
        "attempt": 2,
        "detail": "why",
    }


async def test_the_timeline_tells_whose_act_a_line_was(app: Starlette, engine: Engine) -> None:
    record(engine, "order-1", "REQUESTED")
    record(engine, "order-1", "replayed")
    with engine.begin() as connection:
        connection.execute(audit_trail.update().where(audit_trail.c.after == "replayed").values(actor="ada"))
    timeline = (await ask(app, "GET", "/timeline/order-1")).json()
    assert [entry.get("actor") for entry in timeline["entries"]] == [None, "ada"]


async def test_the_timeline_tells_how_often_each_call_was_tried(app: Starlette, engine: Engine) -> None:
    call(engine, "order-1", "done", failed=2)
    call(engine, "order-1", "open", failed=1)
    timeline = (await ask(app, "GET", "/timeline/order-1")).json()
    assert sorted((told["status"], told["attempts"]) for told in timeline["calls"]) == [("done", 3), ("open", 1)]
    assert "secret" not in str(timeline)


async def test_an_order_that_is_unknown_here_has_an_empty_timeline(app: Starlette) -> None:
    answer = await ask(app, "GET", "/timeline/order-9")
    assert answer.json() == {"orderId": "order-9", "context": "payment", "entries": [], "calls": []}


async def test_a_database_without_tables_is_a_503_with_retry_after(app: Starlette, engine: Engine) -> None:
    with engine.begin() as connection:
        audit_trail.drop(connection)
    answer = await ask(app, "GET", "/timeline/order-1")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_health_names_what_it_looked_at(store: Store) -> None:
    app = read_api("payment", store, {}, [Check(name="database", look=away)])
    assert (await ask(app, "GET", "/health/live")).json() == {"status": "ok", "checks": []}
    ready = await ask(app, "GET", "/health/ready")
    assert ready.status == 503
    assert ready.json()["checks"] == [{"name": "database", "ok": False, "detail": "ConnectionError: refused"}]


async def test_metrics_count_seconds_by_route_method_and_status(app: Starlette) -> None:
    await ask(app, "GET", "/things/known")
    await ask(app, "GET", "/things/known")
    await ask(app, "GET", "/nowhere/at-all")
    await ask(app, "BREW", "/things/known")
    told = (await ask(app, "GET", "/metrics")).body.decode()
    counted = 'orderflow_http_seconds_count{method="%s",route="%s",status="%s"} %s'
    assert counted % ("GET", "/things/{thingId}", "200", "2.0") in told
    assert counted % ("GET", "unmatched", "404", "1.0") in told
    assert counted % ("other", "/things/{thingId}", "405", "1.0") in told


async def test_a_trace_goes_on_and_comes_back(app: Starlette) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    given = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Correlation-ID": "story-1"}
    answer = await ask(app, "GET", "/things/known", headers=given)
    version, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", trace, "01")
    assert span_id != "b7ad6b7169203331"
    assert answer.headers["x-correlation-id"] == "story-1"


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_what_is_no_trace_begins_one(app: Starlette, given: str) -> None:
    answer = await ask(app, "GET", "/things/known", headers={"traceparent": given, "X-Correlation-ID": "a b"})
    assert len(answer.headers["traceparent"].split("-")[1].strip("0")) > 8
    assert "x-correlation-id" not in answer.headers
