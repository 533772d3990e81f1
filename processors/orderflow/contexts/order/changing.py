"""A status set from outside (``PATCH /api/orders/{id}/status``): few changes are legal, each in the flow's own words.

Any flow's order may be cancelled until its last step is done, or, where that step ships, until it is asked for. Where
the flow only ships, whoever does the shipping reports on it as the worker of the order-processing documents does:
Processing, Shipped, Failed. Setting what was set already, or is on its way, is repeated, not refused: a client that
lost the answer may ask again.
"""

from collections.abc import Mapping

from orderflow.contexts.order import carrying_out
from orderflow.contexts.order.state import Order
from orderflow.contracts.commands import ChangeOrderStatus
from orderflow.contracts.decision import Decision, Refused
from orderflow.saga.flow import Plan
from orderflow.saga.moves import Signal
from orderflow.saga.orchestration import react
from orderflow.saga.table import Action, Kind

REASONS: Mapping[Kind, str] = {
    Kind.CANCEL: "cancelled on request",
    Kind.CANCEL_BEFORE_SHIPPING: "cancelled on request",
    Kind.REPORT_PROCESSING: "reported as being processed",
    Kind.REPORT_SHIPPED: "reported as shipped",
    Kind.REPORT_FAILED: "reported as failed",
}


def change(order: Order | None, message: ChangeOrderStatus) -> Decision[Order]:
    """Decide a ChangeOrderStatus.

    Raises:
        Refused: there is no such order; its flow has no such status; or, as a conflict, the change is not legal now.
    """
    if order is None:
        raise Refused("orderId", "there is no such order")
    kind = _kind_of(order.saga.plan, message.status)
    move = react(order.saga, Signal(kind=kind, step=order.saga.last_step, reason=_reason_of(kind, message)))
    if move.action in {Action.REFUSE, Action.IMPOSSIBLE}:
        raise Refused("status", f"an order that is {order.word} cannot be set to {message.status}", conflict=True)
    return carrying_out.decision(order, move, message)


def _kind_of(plan: Plan, status: str) -> Kind:
    words = plan.words
    word = status.casefold()
    if plan.only_ships:
        reports = {
            words.compensating: Kind.REPORT_PROCESSING,
            words.completed: Kind.REPORT_SHIPPED,
            words.cancelled: Kind.REPORT_FAILED,
        }
        kind = next((kind for known, kind in reports.items() if known and known.casefold() == word), None)
        if kind is not None:
            return kind
    elif word == words.cancelled.casefold():
        return Kind.CANCEL_BEFORE_SHIPPING if plan.ships else Kind.CANCEL
    known = [name for field in words.__struct_fields__ if (name := getattr(words, field)) is not None]
    if word not in {name.casefold() for name in known}:
        raise Refused("status", f"{plan.name} has no status {status!r}; it has {', '.join(dict.fromkeys(known))}")
    return Kind.OTHER_WORD


def _reason_of(kind: Kind, message: ChangeOrderStatus) -> str:
    told = message.fulfillment.error_message if message.fulfillment else None
    return message.reason or told or REASONS.get(kind, "")
