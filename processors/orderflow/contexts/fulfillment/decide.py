"""What fulfillment does with each message, whatever it knows of the order by then.

The carrier settles each shipment atomically under its key: it ships it or it cancels it, never both. So a booking that
is called off needs no waiting for: the cancellation's answer tells which of the two came first.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from orderflow.contexts.fulfillment import replies
from orderflow.contexts.fulfillment.state import Shipment, Status, book_task_of, cancel_task_of
from orderflow.contracts.commands import CancelShipment, OrderFulfillmentRequested
from orderflow.contracts.decision import Append, Call, Decision, Outcome, Refused, Transition
from orderflow.contracts.envelope import Message
from orderflow.contracts.outcomes import CarrierAnswered

STEP = "fulfillment"


def decide(shipment: Shipment | None, _shared: Mapping[str, object], message: Message) -> Decision[Shipment]:
    """Decide one message about one order's shipment.

    Raises:
        Refused: the message names no order.
    """
    if not message.order_id:
        raise Refused("orderId", "a shipment belongs to an order")
    match message:
        case OrderFulfillmentRequested():
            return _book(message) if shipment is None else _booked_before(shipment, message)
        case CancelShipment():
            return _bury(message) if shipment is None else _cancel(shipment, message)
        case CarrierAnswered() if shipment is not None:
            return _settle(shipment, message)
    return Decision(state=shipment, outcome="ignored")


def _book(message: OrderFulfillmentRequested) -> Decision[Shipment]:
    shipment = Shipment(order_id=message.order_id, status="booking", items=message.items, request_id=message.request_id)
    call = Call(
        task_id=book_task_of(shipment.shipment_id),
        provider="carrier",
        operation="book",
        key=shipment.shipment_id,
        arguments={
            "shipmentId": shipment.shipment_id,
            "orderId": shipment.order_id,
            "customerId": message.customer.customer_id,
            "pieces": str(sum(item.quantity for item in message.items)),
        },
    )
    change = _transition(None, shipment, attempt=message.attempt)
    return Decision(state=shipment, outcome="applied", transitions=(change,), tasks=(call,))


def _booked_before(shipment: Shipment, message: OrderFulfillmentRequested) -> Decision[Shipment]:
    """Answer a request from the state; while the carrier is being asked, its answer will be the reply."""
    match shipment.status:
        case "booking" | "cancelling":
            return Decision(state=shipment, outcome="repeated")
        case "shipped":
            shipped = replies.shipped(shipment, message, message.request_id)
            return Decision(state=shipment, outcome="repeated", messages=(shipped,))
        case "failed" | "cancelled":
            failed = replies.failed(shipment, message, message.request_id)
            outcome: Outcome = "repeated" if shipment.status == "failed" else "late"
            return Decision(state=shipment, outcome=outcome, messages=(failed,))


def _bury(message: CancelShipment) -> Decision[Shipment]:
    """Cancel what was never requested: what is left is a tombstone."""
    tombstone = Shipment(
        order_id=message.order_id,
        status="cancelled",
        cancel_request_id=message.request_id,
        settled_at=message.occurred_at,
    )
    return _cancelled_at_once(None, tombstone, message)


def _cancel(shipment: Shipment, message: CancelShipment) -> Decision[Shipment]:
    match shipment.status:
        case "booking":
            return _call_off(shipment, message)
        case "cancelling":
            return Decision(state=shipment, outcome="repeated")
        case "shipped":
            shipped = replies.shipped(shipment, message, message.request_id)
            return Decision(state=shipment, outcome="late", messages=(shipped,))
        case "failed":
            at_once = replace(
                shipment, status="cancelled", cancel_request_id=message.request_id, settled_at=message.occurred_at
            )
            return _cancelled_at_once(shipment, at_once, message)
        case "cancelled":
            cancelled = replies.cancelled(shipment, message, message.request_id)
            return Decision(state=shipment, outcome="repeated", messages=(cancelled,))


def _cancelled_at_once(before: Shipment | None, after: Shipment, message: CancelShipment) -> Decision[Shipment]:
    """Cancel without asking the carrier, who has nothing of it."""
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_transition(before, after, attempt=message.attempt, detail=message.reason),),
        messages=(replies.cancelled(after, message, message.request_id),),
    )


def _call_off(shipment: Shipment, message: CancelShipment) -> Decision[Shipment]:
    """End the booking and let the carrier say what has become of it."""
    after = replace(shipment, status="cancelling", cancel_request_id=message.request_id)
    call = Call(
        task_id=cancel_task_of(shipment.shipment_id),
        provider="carrier",
        operation="cancel",
        key=shipment.shipment_id,
        arguments={"shipmentId": shipment.shipment_id, "orderId": shipment.order_id},
    )
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_transition(shipment, after, attempt=message.attempt, detail=message.reason),),
        tasks=(call,),
        ended=(book_task_of(shipment.shipment_id),),
    )


def _settle(shipment: Shipment, answer: CarrierAnswered) -> Decision[Shipment]:
    """Take the carrier's word.

    A shipment that is being cancelled is settled by whichever of the two answers comes first; the other one, if it is
    on its way already, is late and says nothing new.
    """
    booking = shipment.status == "booking" and answer.operation == "book"
    if not booking and shipment.status != "cancelling":
        return Decision(state=shipment, outcome="late", writes=(_attempt(shipment, answer),))
    unshipped: Status = "failed" if booking else "cancelled"
    after = replace(
        shipment,
        status="shipped" if answer.status == "shipped" else unshipped,
        settled_at=answer.occurred_at,
        carrier=answer.carrier,
        tracking_number=answer.tracking_number,
        error=answer.error_message,
    )
    spared = (cancel_task_of(shipment.shipment_id),) if not booking and answer.operation == "book" else ()
    detail = answer.tracking_number or answer.error_message or ""
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_transition(shipment, after, detail=detail),),
        messages=(_first_reply(after, answer),),
        ended=spared,
        writes=(_attempt(shipment, answer),),
    )


def _first_reply(settled: Shipment, answer: CarrierAnswered) -> Message:
    """Answer the request that is waiting: the cancellation where there is one, else the booking."""
    request_id = settled.cancel_request_id or settled.request_id
    match settled.status:
        case "shipped":
            return replies.shipped(settled, answer, request_id)
        case "cancelled":
            return replies.cancelled(settled, answer, request_id)
        case _:
            return replies.failed(settled, answer, request_id)


def _attempt(shipment: Shipment, answer: CarrierAnswered) -> Append:
    return Append(
        table="shipment_attempts",
        values={
            "event_id": answer.event_id,
            "shipment_id": shipment.shipment_id,
            "operation": answer.operation,
            "status": answer.status,
            "error": answer.error_message,
            "at": answer.occurred_at,
        },
    )


def _transition(before: Shipment | None, after: Shipment, *, attempt: int = 0, detail: str = "") -> Transition:
    return Transition(
        before="" if before is None else before.status, after=after.status, step=STEP, attempt=attempt, detail=detail
    )
