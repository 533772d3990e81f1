"""What inventory does with each message, in each state. Pure, and total over both.

An order has one reservation: all of its items, or none. Rules that are not plain from the code:

- a request for other items than the first one's is refused as a dead letter while those are held, because neither
  reply would be true of it. The order, unanswered, compensates, and the release gives back what is held;
- stock is never given back by clock: at its time the reservation says ReservationExpiring, and again after each
  reservation period that brings no answer;
- what an order has consumed has left and is never given back: releasing it is refused as a dead letter, because the
  order said that it had completed;
- a release of which no request is known leaves a tombstone that refuses the request.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from orderflow.contexts.inventory import replies, stock
from orderflow.contexts.inventory.state import Reservation, StockLevel, reservation_id_of, review_task_of
from orderflow.contracts.commands import ConfirmReservation, OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.decision import Decision, Refused, Timer, Transition
from orderflow.contracts.envelope import Message, caused_by
from orderflow.contracts.events import OrderCompleted
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item, ShortItem
from orderflow.contracts.outcomes import ReservationDue
from orderflow.contracts.topics import INVENTORY_COMMANDS

STEP = "inventory"
RESERVATION_SECONDS = 900.0
"""How long a reservation holds before the order is asked: a quarter of an hour, many times a fulfilled order's life."""


def decide(
    state: Reservation | None,
    shared: Mapping[str, StockLevel],
    message: Message,
    *,
    reservation_seconds: float = RESERVATION_SECONDS,
) -> Decision[Reservation]:
    """Decide one message for one order's reservation; ``shared`` has the stock levels that :func:`needs` names.

    Raises:
        Refused: the request names no items, or other items than are held; the release names a reservation that is not
            the order's, or one that is consumed.
    """
    match message:
        case OrderInventoryRequested():
            return _requested(state, shared, message, reservation_seconds)
        case ReleaseInventory():
            return _release(state, shared, message)
        case ConfirmReservation():
            return _confirm(state, message)
        case ReservationDue():
            return _due(state, message, reservation_seconds)
        case OrderCompleted():
            return _completed(state, shared, message)
        case _:
            return Decision(state=state, outcome="ignored")


def needs(state: Reservation | None, message: Message) -> tuple[str, ...]:
    """Return the products whose stock levels deciding ``message`` in ``state`` reads or changes."""
    match message:
        case OrderInventoryRequested() if state is None:
            return tuple(sorted({item.product_id for item in message.items}))
        case ReleaseInventory() | OrderCompleted() if state is not None and state.status == "reserved":
            return tuple(sorted(item.product_id for item in state.items))
        case _:
            return ()


def _requested(
    state: Reservation | None, shared: Mapping[str, StockLevel], message: OrderInventoryRequested, seconds: float
) -> Decision[Reservation]:
    wanted = _wanted(message.items)
    if state is None:
        short = stock.short_of(shared, wanted)
        return _fail(message, short) if short else _reserve(shared, message, wanted, seconds)
    match state.status:
        case "reserved" | "consumed":
            if wanted != _wanted(state.items):
                raise Refused("items", "the order's reservation is of other items", conflict=True)
            return _repeat(state, replies.reserved(state, message))
        case "failed":
            return _repeat(state, replies.short(state, message))
        case "released" | "refused":
            return Decision(state=state, outcome="late", messages=(replies.compensated(message),))


def _release(
    state: Reservation | None, shared: Mapping[str, StockLevel], message: ReleaseInventory
) -> Decision[Reservation]:
    if message.reservation_id and message.reservation_id != reservation_id_of(message.order_id):
        raise Refused("reservationId", f"the order has no reservation {message.reservation_id}", conflict=True)
    if state is None:
        tombstone = Reservation(
            order_id=message.order_id,
            status="refused",
            requested_at=message.occurred_at,
            released_at=message.occurred_at,
        )
        return _applied(None, tombstone, message.attempt, message.reason, replies.nothing_released(message))
    match state.status:
        case "reserved":
            return _give_back(state, shared, message)
        case "released":
            return _repeat(state, replies.released(state, message))
        case "failed" | "refused":
            return _repeat(state, replies.nothing_released(message))
        case "consumed":
            raise Refused("", "the order has completed and what it had reserved has left", conflict=True)


def _confirm(state: Reservation | None, message: ConfirmReservation) -> Decision[Reservation]:
    if (
        state is None
        or state.status != "reserved"
        or state.expires_at is None
        or message.reservation_id != state.reservation_id
    ):
        return Decision(state=state, outcome="late")
    until = message.until
    if until <= state.expires_at:
        return Decision(state=state, outcome="repeated" if until == state.expires_at else "late")
    after = msgspec.structs.replace(state, expires_at=until, review=state.review + 1)
    seconds = max(0.0, (until - message.occurred_at).total_seconds())
    decision = _applied(state, after, 0, f"kept until {until.isoformat()}")
    return msgspec.structs.replace(
        decision, tasks=(_review(after, message, seconds, due_at=until),), ended=_review_of(state)
    )


def _due(state: Reservation | None, message: ReservationDue, seconds: float) -> Decision[Reservation]:
    if state is None or state.status != "reserved" or message.review != state.review:
        return Decision(state=state, outcome="late")
    after = msgspec.structs.replace(state, review=state.review + 1)
    asking = replies.expiring(state, message)
    timer = msgspec.structs.replace(
        _review(after, message, seconds, due_at=_later(message, seconds)),
        request=asking.event_id,
        replies=(INVENTORY_COMMANDS,),
    )
    decision = _applied(state, after, 0, f"review {message.review}: the order is asked whether it needs it", asking)
    return msgspec.structs.replace(decision, tasks=(timer,))


def _completed(
    state: Reservation | None, shared: Mapping[str, StockLevel], message: OrderCompleted
) -> Decision[Reservation]:
    if state is None:
        return Decision(state=None, outcome="ignored")
    match state.status:
        case "reserved":
            at = message.occurred_at
            after = msgspec.structs.replace(state, status="consumed", consumed_at=at)
            levels = stock.changed(shared, state.items, stock.used_up, at)
            decision = _applied(state, after, 0, "the order has completed")
            return msgspec.structs.replace(decision, ended=_review_of(state), shared=levels)
        case "consumed":
            return _repeat(state)
        case "failed" | "released" | "refused":
            return Decision(state=state, outcome="late")


def _fail(message: OrderInventoryRequested, short: tuple[ShortItem, ...]) -> Decision[Reservation]:
    after = Reservation(
        order_id=message.order_id,
        status="failed",
        requested_at=message.occurred_at,
        request_id=message.request_id,
        failed_items=short,
    )
    return _applied(None, after, message.attempt, replies.SHORT, replies.short(after, message))


def _reserve(
    shared: Mapping[str, StockLevel], message: OrderInventoryRequested, wanted: Mapping[str, int], seconds: float
) -> Decision[Reservation]:
    items = tuple(Item(product_id=product_id, quantity=quantity) for product_id, quantity in wanted.items())
    expires_at = _later(message, seconds)
    after = Reservation(
        order_id=message.order_id,
        status="reserved",
        requested_at=message.occurred_at,
        request_id=message.request_id,
        items=items,
        expires_at=expires_at,
        review=1,
    )
    decision = _applied(None, after, message.attempt, "", replies.reserved(after, message))
    return msgspec.structs.replace(
        decision,
        tasks=(_review(after, message, seconds, due_at=expires_at),),
        shared=stock.changed(shared, items, stock.set_aside, message.occurred_at),
    )


def _give_back(
    state: Reservation, shared: Mapping[str, StockLevel], message: ReleaseInventory
) -> Decision[Reservation]:
    at = message.occurred_at
    after = msgspec.structs.replace(state, status="released", released_at=at)
    decision = _applied(state, after, message.attempt, message.reason, replies.released(after, message))
    return msgspec.structs.replace(
        decision, ended=_review_of(state), shared=stock.changed(shared, state.items, stock.given_back, at)
    )


def _applied(
    before: Reservation | None, after: Reservation, attempt: int, detail: str, *answers: Message
) -> Decision[Reservation]:
    moved = Transition(
        before=before.status if before else "", after=after.status, step=STEP, attempt=attempt, detail=detail
    )
    return Decision(state=after, outcome="applied", transitions=(moved,), messages=answers)


def _repeat(state: Reservation, *answers: Message) -> Decision[Reservation]:
    return Decision(state=state, outcome="repeated", messages=answers)


def _review(reservation: Reservation, cause: Message, seconds: float, *, due_at: datetime) -> Timer:
    due = ReservationDue(
        event_id=derive(reservation.reservation_id, "due", str(reservation.review)),
        order_id=reservation.order_id,
        metadata=caused_by(cause, replies.CONTEXT),
        reservation_id=reservation.reservation_id,
        review=reservation.review,
        due_at=due_at,
    )
    return Timer(task_id=review_task_of(reservation.reservation_id, reservation.review), after=seconds, message=due)


def _review_of(reservation: Reservation) -> tuple[str]:
    return (review_task_of(reservation.reservation_id, reservation.review),)


def _later(message: Message, seconds: float) -> datetime:
    try:
        return message.occurred_at + timedelta(seconds=seconds)
    except OverflowError as error:
        raise Refused("", "too late for a reservation to end after it") from error


def _wanted(items: tuple[Item, ...]) -> dict[str, int]:
    if not items:
        raise Refused("items", "a reservation names at least one item")
    wanted: dict[str, int] = {}
    for item in items:
        wanted[item.product_id] = wanted.get(item.product_id, 0) + item.quantity
    return wanted
