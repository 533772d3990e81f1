"""What a load takes for an order's end."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from orderflow.client.endings import ending_in, words_of
from orderflow.client.failures import ClientError
from orderflow.client.figures import Ending
from orderflow.contracts.codec import encode
from orderflow.contracts.events import OrderCancelled, OrderCompleted, OrderCreated
from orderflow.contracts.items import PricedItem
from orderflow.saga.flow import Words
from orderflow.spec.reading import parse_resource, read_resource

NOW = datetime(2026, 2, 14, tzinfo=UTC)
MANIFESTS = Path(__file__).parents[3] / "manifests"


def test_a_completed_order_ends_in_its_flow_s_word() -> None:
    value = encode(OrderCompleted(event_id="e", order_id="o", completed_at=NOW))
    assert ending_in(value, 5.0, Words(completed="FULFILLED")) == (
        "o",
        Ending(at=5.0, status="FULFILLED", completed=True),
    )


def test_an_order_that_ends_otherwise_says_how_itself() -> None:
    value = encode(
        OrderCancelled(
            event_id="e", order_id="o", cancellation_reason="declined", cancelled_at=NOW, final_status="Failed"
        )
    )
    assert ending_in(value, 5.0, Words()) == ("o", Ending(at=5.0, status="Failed", completed=False))


def test_an_older_cancellation_takes_the_flow_s_word() -> None:
    value = encode(OrderCancelled(event_id="e", order_id="o", cancellation_reason="declined", cancelled_at=NOW))
    assert ending_in(value, 5.0, Words()) == ("o", Ending(at=5.0, status="Cancelled", completed=False))


def test_no_other_event_ends_an_order() -> None:
    created = OrderCreated(
        event_id="e",
        order_id="o",
        customer_id="c",
        total_amount=Decimal("1.00"),
        items=(PricedItem(product_id="p", quantity=1, price=Decimal("1.00")),),
        created_at=NOW,
    )
    assert ending_in(encode(created), 5.0, Words()) is None


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"orderId": "o"}', b"\xff"])
def test_what_cannot_be_read_is_passed_over(value: bytes) -> None:
    assert ending_in(value, 5.0, Words()) is None


class TestWords:
    def test_they_are_those_of_the_flow_that_the_orders_take(self) -> None:
        resource = read_resource(MANIFESTS / "quickstart.yaml")
        assert words_of(resource, "reserve-first").completed == "FULFILLED"
        assert words_of(resource, None).completed == "Completed"

    def test_a_declared_flow_has_its_own(self) -> None:
        resource = parse_resource(
            "{apiVersion: orderflow.dev/v1alpha1, kind: OrderFlow, metadata: {name: x}, spec: {flows: "
            "[{name: mine, steps: [{name: payment}], words: {completed: Paid off, paid: null}}]}}",
            "x.yaml",
        )
        assert words_of(resource, "mine").completed == "Paid off"

    def test_a_flow_that_there_is_not_is_named(self) -> None:
        with pytest.raises(ClientError, match="there is no flow 'x'; there are order-to-delivery"):
            words_of(read_resource(MANIFESTS / "quickstart.yaml"), "x")
