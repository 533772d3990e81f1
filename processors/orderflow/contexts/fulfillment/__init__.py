"""Fulfillment: hands an order's items to a carrier once, and calls them back while they have not left.

Owns shipments and the carrier's answers. Takes OrderFulfillmentRequested and CancelShipment, and the carrier's answers
to its own calls. Gives OrderShipped, OrderShipmentFailed and ShipmentCancelled.
"""

from orderflow.contexts.fulfillment.answers import book_answered, cancel_answered
from orderflow.contexts.fulfillment.decide import decide
from orderflow.contexts.fulfillment.state import Shipment, is_live
from orderflow.contexts.fulfillment.tables import SHIPMENTS, metadata
from orderflow.contracts.commands import CancelShipment, OrderFulfillmentRequested
from orderflow.contracts.outcomes import CarrierAnswered
from orderflow.contracts.topics import FULFILLMENT_COMMANDS
from orderflow.runtime.context import Context

__all__ = ["FULFILLMENT", "Shipment"]

FULFILLMENT: Context[Shipment] = Context(
    name="fulfillment",
    takes={FULFILLMENT_COMMANDS: frozenset({OrderFulfillmentRequested, CancelShipment, CarrierAnswered})},
    decide=decide,
    aggregate=SHIPMENTS,
    tables=metadata,
    is_live=is_live,
    answers={"carrier/book": book_answered, "carrier/cancel": cancel_answered},
    compensations=frozenset({CancelShipment}),
)
