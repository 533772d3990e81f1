"""Which message goes to which topic.

Events go to their owner's event topic, commands and task outcomes to the receiver's command topic. Every topic has the
same number of partitions and a ``-dlq`` beside it. Names can be prefixed in the resource; code uses the bare ones.
"""

from collections.abc import Mapping
from typing import Final

from orderflow.contracts import commands, events, outcomes
from orderflow.contracts.envelope import Message

ORDER_EVENTS: Final = "order-events"
PAYMENT_EVENTS: Final = "payment-events"
INVENTORY_EVENTS: Final = "inventory-events"
FULFILLMENT_EVENTS: Final = "fulfillment-events"
ANALYTICS_EVENTS: Final = "analytics-events"
ORDER_COMMANDS: Final = "order-commands"
PAYMENT_COMMANDS: Final = "payment-commands"
INVENTORY_COMMANDS: Final = "inventory-commands"
FULFILLMENT_COMMANDS: Final = "fulfillment-commands"
NOTIFICATION_COMMANDS: Final = "notification-commands"
ANALYTICS_COMMANDS: Final = "analytics-commands"

TOPIC_OF: Mapping[type[Message], str] = {
    commands.CreateOrder: ORDER_COMMANDS,
    commands.ChangeOrderStatus: ORDER_COMMANDS,
    commands.OrderPaymentRequested: PAYMENT_COMMANDS,
    commands.RefundPayment: PAYMENT_COMMANDS,
    commands.OrderInventoryRequested: INVENTORY_COMMANDS,
    commands.ReleaseInventory: INVENTORY_COMMANDS,
    commands.ConfirmReservation: INVENTORY_COMMANDS,
    commands.OrderFulfillmentRequested: FULFILLMENT_COMMANDS,
    commands.CancelShipment: FULFILLMENT_COMMANDS,
    commands.SendNotification: NOTIFICATION_COMMANDS,
    events.OrderCreated: ORDER_EVENTS,
    events.OrderCompleted: ORDER_EVENTS,
    events.OrderCancelled: ORDER_EVENTS,
    events.PaymentSucceeded: PAYMENT_EVENTS,
    events.PaymentFailed: PAYMENT_EVENTS,
    events.PaymentRefunded: PAYMENT_EVENTS,
    events.InventoryReserved: INVENTORY_EVENTS,
    events.InventoryFailed: INVENTORY_EVENTS,
    events.InventoryReleased: INVENTORY_EVENTS,
    events.ReservationExpiring: INVENTORY_EVENTS,
    events.ProductChanged: INVENTORY_EVENTS,
    events.OrderShipped: FULFILLMENT_EVENTS,
    events.OrderShipmentFailed: FULFILLMENT_EVENTS,
    events.ShipmentCancelled: FULFILLMENT_EVENTS,
    events.AnalyticsProcessed: ANALYTICS_EVENTS,
    outcomes.ChargeAnswered: PAYMENT_COMMANDS,
    outcomes.RefundAnswered: PAYMENT_COMMANDS,
    outcomes.CarrierAnswered: FULFILLMENT_COMMANDS,
    outcomes.DeliveryAnswered: NOTIFICATION_COMMANDS,
    outcomes.StepDeadline: ORDER_COMMANDS,
    outcomes.ReservationDue: INVENTORY_COMMANDS,
    outcomes.WindowDue: ANALYTICS_COMMANDS,
}
"""Every message type there is, with its topic."""

TOPICS: tuple[str, ...] = tuple(dict.fromkeys(TOPIC_OF.values()))


def dead_letter_topic(topic: str) -> str:
    """Return the name of the topic that takes what could not be decided on ``topic``."""
    return f"{topic}-dlq"
