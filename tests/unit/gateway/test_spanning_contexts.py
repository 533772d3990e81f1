from datetime import timedelta

import msgspec

from api.order_system import OrderSystem
from orderflow.gateway.problems import Problem


def part(context: str, *entries: tuple[str, str]) -> bytes:
    told = [
        {
            "context": context, "at": at, "recordedAt": at, "from": "", "to": to, "correlationId": "s",
            "cause": {"eventId": "e", "eventType": "PaymentSucceeded"}, "step": "payment", "attempt": 1,
        }
        for at, to in entries
    ]  # fmt: skip
    call = {
        "context": context, "taskId": "t", "provider": "card", "operation": "charge", "status": "done",
        "attempts": 3, "createdAt": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    return msgspec.json.encode({"orderId": "o", "context": context, "entries": told, "calls": [call]})


async def test_a_timeline_is_composed_of_every_contexts_part_in_order_of_time(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    system.time.at += timedelta(seconds=5)
    await system.patch(order_id, b'{"status":"Cancelled"}')
    system.others.answers = {
        ("payment", "timeline", order_id): part("payment", ("2026-03-01T12:00:02Z", "SUCCEEDED")),
        ("analytics", "timeline", order_id): part("analytics"),
    }
    timeline = (await system.get(f"/api/orders/{order_id}/timeline")).json()
    contexts = [entry["context"] for entry in timeline["entries"]]
    assert contexts.index("payment") > contexts.index("order")
    assert contexts[-1] == "order"
    times = [entry["recordedAt"] for entry in timeline["entries"]]
    assert times == sorted(times)
    assert all(entry["cause"]["eventType"] for entry in timeline["entries"])
    assert {call["attempts"] for call in timeline["calls"]} == {3}
    assert timeline["incomplete"] == []


async def test_a_context_that_does_not_answer_is_named_and_the_rest_is_shown(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    system.others.answers = {("payment", "timeline", order_id): b"nonsense"}
    timeline = (await system.get(f"/api/orders/{order_id}/timeline")).json()
    assert timeline["incomplete"] == ["analytics", "payment"]
    assert [entry["to"] for entry in timeline["entries"]][:1] == ["PENDING"]


async def test_an_incomplete_timeline_is_not_kept(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    await system.get(f"/api/orders/{order_id}/timeline")
    system.others.answers = {
        ("payment", "timeline", order_id): part("payment"),
        ("analytics", "timeline", order_id): part("analytics"),
    }
    assert (await system.get(f"/api/orders/{order_id}/timeline")).json()["incomplete"] == []


async def test_the_order_context_has_a_read_api_like_every_other(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    own = (await system.get(f"/timeline/{order_id}")).json()
    assert (own["context"], [entry["to"] for entry in own["entries"]][:1]) == ("order", ["PENDING"])


async def test_the_summary_and_notifications_are_passed_on_and_kept_briefly(system: OrderSystem) -> None:
    system.others.answers = {
        ("analytics", "summary"): b'{"totals":{}}',
        ("notification", "notifications", "o-1"): b'{"notifications":[]}',
    }
    for _ in range(2):
        assert (await system.get("/api/analytics/summary")).json() == {"totals": {}}
        assert (await system.get("/api/notifications?orderId=o-1")).json() == {"notifications": []}
    assert len(system.others.asked) == 2
    system.time.at += timedelta(seconds=1)
    await system.get("/api/analytics/summary")
    assert len(system.others.asked) == 3


async def test_a_context_that_is_away_is_a_503_for_what_only_it_knows(system: OrderSystem) -> None:
    answer = await system.get("/api/analytics/summary")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "analytics" in answer.json()["detail"]


async def test_notifications_need_an_order(system: OrderSystem) -> None:
    answer = await system.get("/api/notifications")
    assert (answer.status, answer.json()["field"]) == (400, "orderId")


async def test_what_another_context_refuses_is_refused(system: OrderSystem) -> None:
    refused = Problem(400, "malformed-request", "no number", field="windows")
    system.others.answers = {("analytics", "summary", "x"): refused}
    answer = await system.get("/api/analytics/summary?windows=x")
    assert (answer.status, answer.json()["field"]) == (400, "windows")
