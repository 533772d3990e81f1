"""Notification: tells people how their orders fare, by mail, SMS and push. Best effort: nothing ever waits for it.

Owns each order's correspondence, the notification log and the delivery attempts. Takes SendNotification, the channel
providers' answers to its own calls, and the events PaymentFailed, OrderCompleted, OrderCancelled and OrderShipped,
each of which collapses with its command into one notification per order and outcome. Gives no messages.
"""

from orderflow.contexts.notification.answers import delivery_answered
from orderflow.contexts.notification.decide import decide
from orderflow.contexts.notification.state import Correspondence, is_live
from orderflow.contexts.notification.tables import CORRESPONDENCE, metadata
from orderflow.contracts.commands import SendNotification
from orderflow.contracts.events import OrderCancelled, OrderCompleted, OrderShipped, PaymentFailed
from orderflow.contracts.outcomes import DeliveryAnswered
from orderflow.contracts.topics import FULFILLMENT_EVENTS, NOTIFICATION_COMMANDS, ORDER_EVENTS, PAYMENT_EVENTS
from orderflow.runtime.context import Context

__all__ = ["NOTIFICATION", "Correspondence"]

NOTIFICATION: Context[Correspondence] = Context(
    name="notification",
    takes={
        NOTIFICATION_COMMANDS: frozenset({SendNotification, DeliveryAnswered}),
        ORDER_EVENTS: frozenset({OrderCompleted, OrderCancelled}),
        PAYMENT_EVENTS: frozenset({PaymentFailed}),
        FULFILLMENT_EVENTS: frozenset({OrderShipped}),
    },
    decide=decide,
    aggregate=CORRESPONDENCE,
    patience=0.2,  # nobody waits for it
    tables=metadata,
    is_live=is_live,
    answers={
        "email/deliver": delivery_answered("email"),
        "sms/deliver": delivery_answered("sms"),
        "push/deliver": delivery_answered("push"),
    },
)
