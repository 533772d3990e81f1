"""Order: takes orders in and leads each through its flow to an end. The one context that knows what belongs together.

Owns orders with their saga and audit trail, the idempotency keys of its API, and a copy of the catalogue that follows
inventory's events. Takes CreateOrder and ChangeOrderStatus, every reply of a participant, its own StepDeadlines, and
ReservationExpiring. Gives OrderCreated, OrderCompleted and OrderCancelled, each participant's request
(OrderPaymentRequested, OrderInventoryRequested, OrderFulfillmentRequested) and compensation (RefundPayment,
ReleaseInventory, CancelShipment), ConfirmReservation, and SendNotification.
"""

from orderflow.contexts.order.decide import decide
from orderflow.contexts.order.preparing import preparation
from orderflow.contexts.order.state import Order, is_live
from orderflow.contexts.order.tables import ORDERS, metadata
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.events import (
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    OrderShipmentFailed,
    OrderShipped,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    ProductChanged,
    ReservationExpiring,
    ShipmentCancelled,
)
from orderflow.contracts.outcomes import StepDeadline
from orderflow.contracts.topics import FULFILLMENT_EVENTS, INVENTORY_EVENTS, ORDER_COMMANDS, PAYMENT_EVENTS
from orderflow.runtime.context import Context, Ended
from orderflow.saga.flow import FlowBook


def order_context(flows: FlowBook) -> Context[Order]:
    """Return the context whose orders choose among ``flows``."""
    return Context(
        name="order",
        takes={
            ORDER_COMMANDS: frozenset({CreateOrder, ChangeOrderStatus, StepDeadline}),
            PAYMENT_EVENTS: frozenset({PaymentSucceeded, PaymentFailed, PaymentRefunded}),
            INVENTORY_EVENTS: frozenset(
                {InventoryReserved, InventoryFailed, InventoryReleased, ReservationExpiring, ProductChanged}
            ),
            FULFILLMENT_EVENTS: frozenset({OrderShipped, OrderShipmentFailed, ShipmentCancelled}),
        },
        decide=decide,
        aggregate=ORDERS,
        tables=metadata,
        is_live=is_live,
        prepare=preparation(flows),
        parks=False,
        ended=_ended,
    )


def _ended(order: Order) -> Ended | None:
    if not order.saga.ended:
        return None
    return Ended(flow=order.flow, outcome=order.saga.status.lower(), started_at=order.created_at)
