import pytest

from api.order_system import OrderSystem


async def test_a_legal_status_is_set_and_seen_by_the_next_read(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    assert (await system.get(f"/api/orders/{order_id}")).json()["status"] == "Pending"
    answer = await system.patch(order_id, b'{"status":"Cancelled","reason":"changed my mind"}')
    assert (answer.status, answer.body) == (204, b"")
    assert (await system.get(f"/api/orders/{order_id}")).json()["status"] == "Compensating"
    assert "RefundPayment" in [row.event_type for row in system.published.rows]


async def test_an_illegal_transition_is_a_409_and_changes_nothing(system: OrderSystem) -> None:
    order_id = (await system.post()).json()["orderId"]
    before = system.stored()
    answer = await system.patch(order_id, b'{"status":"Shipped"}')
    assert (answer.status, answer.json()["field"]) == (409, "status")
    assert system.stored() == before


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"{}", 422, "status"),
        (b'{"status":"Nonsense"}', 422, "status"),
        (b" " * 65537, 413, "body"),
    ],
)
async def test_a_status_that_cannot_be_is_a_problem_that_names_the_field(
    system: OrderSystem, body: bytes, status: int, field: str
) -> None:
    order_id = (await system.post()).json()["orderId"]
    answer = await system.patch(order_id, body)
    assert (answer.status, answer.json()["field"]) == (status, field)
