"""Which messages each step is made of.

Every step has the same five: the request, its success, its failure, the compensation that undoes it whatever became of
it, and the answer to that. Adding a step is adding a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from orderflow.contracts import commands, events
from orderflow.contracts.envelope import Message
from orderflow.contracts.topics import TOPIC_OF

StepName = Literal["payment", "inventory", "fulfillment"]

Canonical = Literal["PENDING", "PAID", "RESERVED", "SHIPPED", "COMPLETED", "COMPENSATING", "CANCELLED", "FAILED"]
"""The words of the audit trail. ``FAILED`` is how an order ends that had nothing but its shipment to lose."""

FULFILLMENT: Final = "fulfillment"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The messages of one step.

    Attributes:
        done: the order's status once the step has succeeded.
        reference: the field of the success by which the participant names what it did.
    """

    step: StepName
    request: type[Message]
    success: type[Message]
    failure: type[Message]
    compensation: type[Message]
    compensated: type[Message]
    done: Canonical
    reference: str

    @property
    def replies(self) -> str:
        """The topic on which the participant answers."""
        return TOPIC_OF[self.success]


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.step: protocol
    for protocol in (
        Protocol(
            step="payment",
            request=commands.OrderPaymentRequested,
            success=events.PaymentSucceeded,
            failure=events.PaymentFailed,
            compensation=commands.RefundPayment,
            compensated=events.PaymentRefunded,
            done="PAID",
            reference="payment_id",
        ),
        Protocol(
            step="inventory",
            request=commands.OrderInventoryRequested,
            success=events.InventoryReserved,
            failure=events.InventoryFailed,
            compensation=commands.ReleaseInventory,
            compensated=events.InventoryReleased,
            done="RESERVED",
            reference="reservation_id",
        ),
        Protocol(
            step="fulfillment",
            request=commands.OrderFulfillmentRequested,
            success=events.OrderShipped,
            failure=events.OrderShipmentFailed,
            compensation=commands.CancelShipment,
            compensated=events.ShipmentCancelled,
            done="SHIPPED",
            reference="shipment_id",
        ),
    )
}
"""Every step there is, by name."""

STEP_OF: Mapping[type[Message], StepName] = {
    reply: protocol.step
    for protocol in PROTOCOLS.values()
    for reply in (protocol.success, protocol.failure, protocol.compensated)
}
"""The step that a reply is about."""
