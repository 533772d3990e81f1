"""What the order context knows of one order."""

from datetime import datetime
from decimal import Decimal

import msgspec

from orderflow.contracts.items import Customer, FulfillmentDetails, PricedItem, Recipient
from orderflow.saga.state import Saga


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order: what was ordered, and how far its saga has come. Times are UTC; amounts have two places.

    ``fulfillment`` is what is known of the shipment; ``recipient`` is whom to notify.
    """

    saga: Saga
    correlation_id: str
    customer: Customer
    items: tuple[PricedItem, ...]
    total: Decimal
    created_at: datetime
    updated_at: datetime
    tenant: str
    recipient: Recipient | None = None
    fulfillment: FulfillmentDetails = msgspec.field(default_factory=FulfillmentDetails)

    @property
    def order_id(self) -> str:
        """The order's id, by which all of its messages are partitioned."""
        return self.saga.order_id

    @property
    def flow(self) -> str:
        """The name of the flow whose plan the order has pinned."""
        return self.saga.plan.name

    @property
    def word(self) -> str:
        """The status as it is shown outside, in the words of the order's flow."""
        return self.saga.word


def is_live(order: Order) -> bool:
    """Whether the order still waits for an answer."""
    return order.saga.is_live
