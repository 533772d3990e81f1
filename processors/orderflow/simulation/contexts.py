"""The six contexts as a simulated system has them configured."""

from typing import Any

from orderflow.contexts.analytics import ANALYTICS
from orderflow.contexts.fulfillment import FULFILLMENT
from orderflow.contexts.inventory import inventory_context
from orderflow.contexts.notification import NOTIFICATION
from orderflow.contexts.order import order_context
from orderflow.contexts.payment import PAYMENT
from orderflow.runtime.context import Context
from orderflow.saga.flow import Flow, FlowBook, Step

FLOWS = FlowBook(
    (
        Flow(
            name="order-to-delivery",
            steps=(
                Step(name="payment", deadline_seconds=3.0, asks=2),
                Step(name="inventory", deadline_seconds=2.0, asks=2),
                Step(name="fulfillment", deadline_seconds=4.0, asks=2),
            ),
        ),
        Flow(
            name="payment-first",
            steps=(
                Step(name="payment", deadline_seconds=2.0, asks=2),
                Step(name="inventory", deadline_seconds=2.0, asks=3),
            ),
        ),
        Flow(
            name="reserve-first",
            steps=(
                Step(name="inventory", deadline_seconds=2.0, asks=2),
                Step(name="payment", deadline_seconds=6.0, asks=2),
            ),
        ),
        Flow(name="ship-only", steps=(Step(name="fulfillment", deadline_seconds=3.0, asks=3),)),
    )
)
"""The built-in flows with short deadlines: an order that is left alone gives up within seconds, not minutes."""


def contexts_of(reservation_seconds: float) -> dict[str, Context[Any]]:
    """Return every context by name; stock is held for ``reservation_seconds`` before the order is asked about it."""
    contexts: tuple[Context[Any], ...] = (
        order_context(FLOWS),
        PAYMENT,
        inventory_context(reservation_seconds),
        FULFILLMENT,
        NOTIFICATION,
        ANALYTICS,
    )
    return {context.name: context for context in contexts}
