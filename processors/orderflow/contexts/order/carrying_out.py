"""From a saga's move to the order's decision: the state afterwards, and everything that goes out because of it."""

from collections.abc import Iterator

from msgspec.structs import replace

from orderflow.contexts.order import sending
from orderflow.contexts.order.state import Order
from orderflow.contracts.commands import ChangeOrderStatus
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderShipmentFailed, OrderShipped, PaymentFailed, ReservationExpiring
from orderflow.contracts.items import FulfillmentDetails
from orderflow.saga.moves import Move
from orderflow.saga.table import Action

SHIPPED = frozenset({Action.ADVANCE, Action.GO_FORWARD_AGAIN})


def decision(order: Order, move: Move, message: Message) -> Decision[Order]:
    """Return the decision that ``move`` of the order's saga amounts to."""
    after = _after(order, move, message)
    return Decision(
        state=after,
        outcome=move.outcome,
        transitions=move.transitions,
        messages=tuple(_messages(after, move, message)),
        tasks=tuple(sending.deadline(after, ask, message) for ask in move.asks),
        ended=move.ended,
    )


def _after(order: Order, move: Move, message: Message) -> Order:
    after = replace(order, saga=move.saga, fulfillment=_fulfillment(order, move, message))
    if after == order:
        return order
    # A participant's clock may be behind; an order is never updated before it was.
    return replace(after, updated_at=max(order.updated_at, message.occurred_at))


def _fulfillment(order: Order, move: Move, message: Message) -> FulfillmentDetails:
    match message:
        case OrderShipped() if move.action in SHIPPED:
            return FulfillmentDetails(
                carrier=message.carrier, tracking_number=message.tracking_number, shipped_at=_moment(message)
            )
        case OrderShipmentFailed() if move.action is Action.FAIL:
            return replace(order.fulfillment, error_message=message.error_message)
        case ChangeOrderStatus() if move.outcome == "applied" and order.saga.plan.only_ships:
            return _reported(order.fulfillment, move, message)
        case _:
            return order.fulfillment


def _reported(known: FulfillmentDetails, move: Move, message: ChangeOrderStatus) -> FulfillmentDetails:
    """Return what the one who does the shipping says of it, over what was known."""
    told = message.fulfillment or FulfillmentDetails()
    shipped_at = told.shipped_at or (_moment(message) if move.ending == "completed" else known.shipped_at)
    return FulfillmentDetails(
        carrier=told.carrier or known.carrier,
        tracking_number=told.tracking_number or known.tracking_number,
        shipped_at=shipped_at,
        error_message=told.error_message or known.error_message,
    )


def _messages(order: Order, move: Move, message: Message) -> Iterator[Message]:
    if move.action is Action.ACCEPT:
        yield sending.created(order, message)
    if isinstance(message, ReservationExpiring):
        if move.action is Action.KEEP_RESERVATION:
            yield sending.confirmation(order, message)
        elif move.action is Action.RELEASE_RESERVATION:
            yield sending.release(order, message)
    yield from (sending.request(order, ask, message) for ask in move.asks)
    if move.ending == "completed":
        yield sending.completed(order, message)
    elif move.ending == "cancelled":
        yield sending.cancelled(order, message)
    yield from (sending.notification(order, outcome, message) for outcome in _outcomes(move, message))


def _outcomes(move: Move, message: Message) -> Iterator[str]:
    """Yield what the customer is told of, each once in an order's life."""
    if isinstance(message, PaymentFailed) and move.action is Action.FAIL:
        yield "payment-failed"
    if move.action is Action.SHIP_BY_REPORT or (isinstance(message, OrderShipped) and move.action in SHIPPED):
        yield "order-shipped"
    if move.ending:
        yield f"order-{move.ending}"


def _moment(message: Message) -> str:
    return message.occurred_at.isoformat().replace("+00:00", "Z")
