"""What the order sends: the orchestration's abstract asks, and its news, as messages with the order's content.

An ask's id follows from its request and its attempt, so that the same ask is the same message whoever sends it again;
every other message's id follows from the message that caused it.
"""

from datetime import UTC, datetime, timedelta

from orderflow.contexts.order.state import Order
from orderflow.contracts.commands import (
    CancelShipment,
    ConfirmReservation,
    OrderFulfillmentRequested,
    OrderInventoryRequested,
    OrderPaymentRequested,
    RefundPayment,
    ReleaseInventory,
    SendNotification,
)
from orderflow.contracts.decision import Timer
from orderflow.contracts.envelope import Message, Metadata, caused_by
from orderflow.contracts.events import OrderCancelled, OrderCompleted, OrderCreated, ReservationExpiring
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Channel, Item, Recipient
from orderflow.contracts.outcomes import StepDeadline
from orderflow.saga.moves import Ask
from orderflow.saga.protocol import PROTOCOLS
from orderflow.saga.state import compensation_id

CONTEXT = "order"
UNNEEDED = "the order does not need it"

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def request(order: Order, ask: Ask, cause: Message) -> Message:
    """Return the command that asks for a step, or for its compensation."""
    return _compensation(order, ask, cause) if ask.compensating else _step(order, ask, cause)


def _step(order: Order, ask: Ask, cause: Message) -> Message:
    metadata, at = metadata_of(order, cause), cause.occurred_at
    match ask.step:
        case "payment":
            return OrderPaymentRequested(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                customer_id=order.customer.customer_id,
                amount=order.total,
                requested_at=at,
                attempt=ask.attempt,
            )
        case "inventory":
            return OrderInventoryRequested(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                items=_pieces(order),
                requested_at=at,
                attempt=ask.attempt,
            )
        case "fulfillment":
            return OrderFulfillmentRequested(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                items=_pieces(order),
                customer=order.customer,
                requested_at=at,
                attempt=ask.attempt,
            )


def _compensation(order: Order, ask: Ask, cause: Message) -> Message:
    metadata, at = metadata_of(order, cause), cause.occurred_at
    reason = order.saga.reason or UNNEEDED
    match ask.step:
        case "payment":
            return RefundPayment(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                amount=order.total,
                reason=reason,
                requested_at=at,
                payment_id=ask.reference,
                attempt=ask.attempt,
            )
        case "inventory":
            return ReleaseInventory(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                reason=reason,
                requested_at=at,
                reservation_id=ask.reference,
                attempt=ask.attempt,
            )
        case "fulfillment":
            return CancelShipment(
                event_id=ask.event_id,
                order_id=order.order_id,
                metadata=metadata,
                request_id=ask.request_id,
                reason=reason,
                requested_at=at,
                attempt=ask.attempt,
            )


def deadline(order: Order, ask: Ask, cause: Message) -> Timer:
    """Return the timer that says that ``ask`` has gone unanswered, unless its answer ends it first."""
    due = StepDeadline(
        event_id=derive(ask.task_id, "StepDeadline"),
        order_id=order.order_id,
        metadata=metadata_of(order, cause),
        step=ask.step,
        attempt=ask.attempt,
        due_at=_later(cause.occurred_at, ask.deadline),
        compensating=ask.compensating,
    )
    replies = (PROTOCOLS[ask.step].replies,)
    return Timer(task_id=ask.task_id, after=ask.deadline, message=due, request=ask.event_id, replies=replies)


def created(order: Order, cause: Message) -> OrderCreated:
    """Announce the order."""
    return OrderCreated(
        event_id=derive(cause.event_id, "OrderCreated"),
        order_id=order.order_id,
        metadata=metadata_of(order, cause),
        customer_id=order.customer.customer_id,
        total_amount=order.total,
        items=order.items,
        created_at=order.created_at,
        customer=order.customer,
        flow=order.flow,
    )


def completed(order: Order, cause: Message) -> OrderCompleted:
    """Announce the order's good end."""
    return OrderCompleted(
        event_id=derive(cause.event_id, "OrderCompleted"),
        order_id=order.order_id,
        metadata=metadata_of(order, cause),
        completed_at=cause.occurred_at,
    )


def cancelled(order: Order, cause: Message) -> OrderCancelled:
    """Announce the order's other end."""
    return OrderCancelled(
        event_id=derive(cause.event_id, "OrderCancelled"),
        order_id=order.order_id,
        metadata=metadata_of(order, cause),
        cancellation_reason=order.saga.reason,
        cancelled_at=cause.occurred_at,
        final_status=order.word,
    )


def notification(order: Order, outcome: str, cause: Message) -> SendNotification:
    """Have the customer told of ``outcome``, once; the id is the one under which the outcome's event is known too."""
    notification_id = derive(order.order_id, outcome)
    recipient = order.recipient or Recipient(customer_id=order.customer.customer_id)
    return SendNotification(
        event_id=derive(notification_id, "SendNotification"),
        order_id=order.order_id,
        metadata=metadata_of(order, cause),
        notification_id=notification_id,
        template=outcome,
        parameters={
            "orderId": order.order_id,
            "total": str(order.total),
            "reason": order.saga.reason,
            "carrier": order.fulfillment.carrier or "",
            "trackingNumber": order.fulfillment.tracking_number or "",
        },
        recipient=recipient,
        channels=_channels(recipient),
        requested_at=cause.occurred_at,
    )


def _channels(recipient: Recipient) -> tuple[Channel, ...]:
    """Return the channels with an address, in the order to try them; with none at all, mail is left to say so."""
    channels = (
        (Channel(channel="email", priority=0), recipient.email),
        (Channel(channel="push", priority=1), recipient.push_token),
        (Channel(channel="sms", priority=2), recipient.phone),
    )
    return tuple(channel for channel, address in channels if address) or (Channel(channel="email"),)


def confirmation(order: Order, expiring: ReservationExpiring) -> ConfirmReservation:
    """Keep a reservation that has come to its time, for as long again as the plan says."""
    moment = expiring.occurred_at
    return ConfirmReservation(
        event_id=derive(expiring.event_id, "ConfirmReservation"),
        order_id=order.order_id,
        metadata=metadata_of(order, expiring),
        request_id=derive(order.order_id, "inventory", "confirm", expiring.reservation_id, moment.isoformat()),
        reservation_id=expiring.reservation_id,
        until=_later(moment, order.saga.plan.hold_seconds),
        requested_at=moment,
    )


def release(order: Order | None, expiring: ReservationExpiring) -> ReleaseInventory:
    """Give back a reservation that has come to its time and that nobody needs; ``None``: there is no such order."""
    order_id = expiring.order_id
    progress = order.saga.progress("inventory") if order else None
    under_way = progress.compensation if progress else ""
    return ReleaseInventory(
        event_id=derive(expiring.event_id, "ReleaseInventory"),
        order_id=order_id,
        metadata=metadata_of(order, expiring) if order else caused_by(expiring, CONTEXT),
        request_id=under_way or compensation_id(order_id, "inventory"),
        reason=(order.saga.reason if order else "") or UNNEEDED,
        requested_at=expiring.occurred_at,
        reservation_id=expiring.reservation_id,
        attempt=max(1, progress.compensations if progress else 1),
    )


def metadata_of(order: Order, cause: Message) -> Metadata:
    """Return the metadata of what the order sends because of ``cause``, which may be too old to name them itself."""
    return Metadata(
        source=CONTEXT, correlation_id=order.correlation_id, causation_id=cause.event_id, tenant=order.tenant
    )


def _pieces(order: Order) -> tuple[Item, ...]:
    return tuple(Item(product_id=item.product_id, quantity=item.quantity) for item in order.items)


def _later(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return END_OF_TIME
