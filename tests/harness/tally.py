"""A context as small as one can be that uses all a decision may ask for, to test the runtime with.

It counts what it is asked for, per order. What else it does stands in the request's ``request_id``, word by word:

``call`` a call to the card provider; ``timer`` one for a minute later; ``deadline`` the same, waiting for a reply;
``end`` the tally is over; ``look`` changes nothing; ``refuse``, ``break`` and ``crash`` cannot be decided;
``violate`` and ``misname`` cannot be recorded. Every item's quantity goes into the pot of its product, which all share.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Column, Integer, MetaData, String, Table

from orderflow.contracts.commands import ConfirmReservation, OrderInventoryRequested, ReleaseInventory
from orderflow.contracts.decision import Append, Call, Decision, Keep, Refused, Timer, Transition
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import InventoryReserved, OrderCompleted, ProductChanged
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item
from orderflow.contracts.outcomes import ReservationDue
from orderflow.providers.protocol import ProviderAnswer, Unclear
from orderflow.runtime.context import Context, Ended, SharedRows
from orderflow.runtime.rows import Rows, state_columns

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COMMANDS = "inventory-commands"
REPLIES = "order-events"


class Tally(msgspec.Struct, frozen=True):
    """One order's count, and the event ids that went into it."""

    count: int = 0
    seen: tuple[str, ...] = ()
    over: bool = False
    undone: bool = False


class Pot(msgspec.Struct, frozen=True):
    """What all orders have put in of one product."""

    amount: int = 0


metadata = MetaData()
tallies = Table("tallies", metadata, Column("order_id", String(200), primary_key=True), *state_columns())
pots = Table("pots", metadata, Column("product_id", String(200), primary_key=True), *state_columns())
marks = Table("marks", metadata, Column("id", Integer, primary_key=True), Column("mark", String(200), nullable=False))
latest = Table("latest", metadata, Column("key", String(64), primary_key=True), Column("version", Integer))

TALLIES: Rows[Tally] = Rows(table=tallies, key="order_id", type=Tally)
POTS: Rows[Pot] = Rows(table=pots, key="product_id", type=Pot)


# What it is told


def ask(order: str, does: str = "count", *, number: int = 1, items: Mapping[str, int] | None = None) -> Message:
    """The ``number``-th request for ``order``."""
    return OrderInventoryRequested(
        event_id=f"ask-{order}-{number}",
        order_id=order,
        request_id=does,
        items=tuple(Item(product_id=name, quantity=quantity) for name, quantity in (items or {}).items()),
        requested_at=NOON,
    )


def undo(order: str, *, number: int = 1, reason: str = "") -> ReleaseInventory:
    """The command that undoes; one whose reason is ``break`` cannot be decided."""
    return ReleaseInventory(
        event_id=f"undo-{order}-{number}", order_id=order, request_id="undo", reason=reason, requested_at=NOON
    )


def due(order: str, *, number: int = 1) -> ReservationDue:
    """An outcome of one of the context's own tasks."""
    return ReservationDue(
        event_id=f"due-{order}-{number}", order_id=order, reservation_id=order, review=number, due_at=NOON
    )


def reply(order: str) -> OrderCompleted:
    """What a deadline waits for."""
    return OrderCompleted(event_id=f"reply-{order}", order_id=order, completed_at=NOON)


def other(order: str) -> ConfirmReservation:
    """A message on the same topic that means nothing to the context."""
    return ConfirmReservation(
        event_id=f"other-{order}",
        order_id=order,
        request_id="other",
        reservation_id=order,
        until=NOON + timedelta(hours=1),
        requested_at=NOON,
    )


# What it does


def decide(tally: Tally | None, pots: Mapping[str, Pot], message: Message) -> Decision[Tally]:
    match message:
        case OrderInventoryRequested():
            return _asked(tally, pots, message)
        case ReleaseInventory():
            if message.reason == "break":
                raise ArithmeticError("asked to break")
            return Decision(state=_counted(tally, message, undone=True), outcome="applied")
        case OrderCompleted():
            ended = (call_of(message.order_id), timer_of(message.order_id))
            return Decision(state=_counted(tally, message), outcome="applied", ended=ended)
    return Decision(state=_counted(tally, message), outcome="applied")


def call_of(order: str) -> str:
    return f"call-{order}"


def timer_of(order: str) -> str:
    return f"timer-{order}"


def reserved(request: Message) -> str:
    """The event id of the message that a request is answered by."""
    return derive(request.event_id, "reserved")


def woken(request: Message) -> str:
    """The event id of the message that a request's timer delivers."""
    return derive(request.event_id, "due")


def answer_of(order: str) -> str:
    """The event id of the outcome of an order's call."""
    return derive(call_of(order), "answered")


def _counted(tally: Tally | None, message: Message, **changes: bool) -> Tally:
    before = tally or Tally()
    return msgspec.structs.replace(before, count=before.count + 1, seen=(*before.seen, message.event_id), **changes)


def _asked(tally: Tally | None, pots: Mapping[str, Pot], request: OrderInventoryRequested) -> Decision[Tally]:
    words = request.request_id.split()
    _perhaps_fail(words)
    if "look" in words:
        return Decision(state=tally, outcome="repeated" if tally else "ignored")
    after = _counted(tally, request, over="end" in words)
    return Decision(
        state=after,
        outcome="applied",
        transitions=(Transition(before=str(tally.count if tally else 0), after=str(after.count)),),
        messages=(_answer(request),),
        tasks=_tasks(words, request),
        writes=_writes(words, request, after),
        shared={
            item.product_id: Pot(pots.get(item.product_id, Pot()).amount + item.quantity) for item in request.items
        },
    )


def _perhaps_fail(words: list[str]) -> None:
    if "refuse" in words:
        raise Refused("items", "there is no such thing")
    if "break" in words:
        raise ValueError("cannot, said Ada Lovelace")
    if "crash" in words:
        raise KeyError("elsewhere")


def _answer(request: OrderInventoryRequested) -> Message:
    return InventoryReserved(
        event_id=reserved(request),
        order_id=request.order_id,
        reservation_id=request.order_id,
        items=request.items,
        reserved_at=request.occurred_at,
    )


def _tasks(words: list[str], request: OrderInventoryRequested) -> tuple[Call | Timer, ...]:
    order = request.order_id
    message = ReservationDue(
        event_id=woken(request), order_id=order, reservation_id=order, review=0, due_at=NOON + timedelta(seconds=60)
    )
    tasks: list[Call | Timer] = []
    if "call" in words:
        arguments = {"orderId": order}
        tasks.append(
            Call(task_id=call_of(order), provider="card", operation="charge", key=f"key-{order}", arguments=arguments)
        )
    if "timer" in words:
        tasks.append(Timer(task_id=timer_of(order), after=60, message=message))
    if "deadline" in words:
        tasks.append(
            Timer(task_id=timer_of(order), after=60, message=message, request=reserved(request), replies=(REPLIES,))
        )
    return tuple(tasks)


def _writes(words: list[str], request: Message, after: Tally) -> tuple[Append | Keep, ...]:
    mark = None if "violate" in words else request.event_id
    table = "nowhere" if "misname" in words else "marks"
    return (
        Append(table=table, values={"mark": mark}),
        Keep(table="latest", key={"key": request.order_id}, values={"version": after.count}, newest_by="version"),
    )


def _needs(_tally: Tally | None, message: Message) -> list[str]:
    return [item.product_id for item in message.items] if isinstance(message, OrderInventoryRequested) else []


def _announce(name: str, pot: Pot, cause: Message) -> Message:
    return ProductChanged(
        event_id=derive(cause.event_id, "pot", name),
        product_id=name,
        name=name,
        price=Decimal("1.00"),
        available=pot.amount,
        version=pot.amount,
        changed_at=cause.occurred_at,
    )


def _answered(call: Call, answer: ProviderAnswer, now: datetime) -> Message:
    if answer.status != "done":
        raise Unclear("neither yes nor no")
    order = call.arguments["orderId"]
    return ReservationDue(
        event_id=answer_of(order),
        order_id=order,
        reservation_id=answer.reference or "none",
        review=0,
        due_at=now,
    )


def _ended(tally: Tally) -> Ended | None:
    return Ended(flow="tally", outcome="over", started_at=NOON) if tally.over else None


SHARED: SharedRows = SharedRows(rows=POTS, needs=_needs, announce=_announce, shown_as="inventory-pots")

TALLY: Context[Any] = Context(
    name="inventory",
    takes={
        COMMANDS: frozenset({OrderInventoryRequested, ReleaseInventory, ReservationDue}),
        REPLIES: frozenset({OrderCompleted}),
    },
    decide=decide,
    aggregate=TALLIES,
    tables=metadata,
    is_live=lambda tally: not tally.over,
    shared=SHARED,
    answers={"card/charge": _answered},
    compensations=frozenset({ReleaseInventory}),
    ended=_ended,
)
