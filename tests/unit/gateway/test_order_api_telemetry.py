import msgspec
import pytest

from api.order_system import WALKTHROUGH, OrderSystem


async def test_the_trace_and_the_story_go_into_the_messages(system: OrderSystem) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    parent = f"00-{trace}-b7ad6b7169203331-01"
    answer = await system.post(traceparent=parent, X_Correlation_ID="story-1")
    assert answer.headers["traceparent"].split("-")[1] == trace
    assert answer.headers["x-correlation-id"] == "story-1"
    for row in system.published.rows:
        assert row.headers["traceparent"].split("-")[1] == trace
        assert msgspec.json.decode(row.payload)["metadata"]["correlationId"] == "story-1"


async def test_without_a_correlation_id_the_story_is_the_orders(system: OrderSystem) -> None:
    answer = await system.post()
    assert answer.headers["x-correlation-id"] == answer.json()["orderId"]


async def test_log_lines_carry_order_story_and_trace_and_nothing_personal(
    system: OrderSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await system.post(WALKTHROUGH.replace(b'"Test"', b'"Erika Mustermann"'), key="k-1")
    await system.patch(answer.json()["orderId"], b'{"status":"Cancelled","reason":"Erika is away"}')
    logged = capsys.readouterr().out
    for text in (answer.json()["orderId"], answer.headers["traceparent"].split("-")[1], "correlationId", "traceId"):
        assert text in logged
    assert "Erika" not in logged


async def test_metrics_name_the_route_not_the_order(system: OrderSystem) -> None:
    await system.get(f"/api/orders/{(await system.post()).json()['orderId']}")
    told = (await system.get("/metrics")).body.decode()
    counted = 'orderflow_http_seconds_count{method="%s",route="%s",status="200"} 1.0'
    assert counted % ("POST", "/api/orders") in told
    assert counted % ("GET", "/api/orders/{orderId}") in told
