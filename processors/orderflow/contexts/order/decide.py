"""What the order context does with each message, in each state. Pure, and total over both.

The saga's table decides; here messages are told apart, and what is no business of the saga is decided: the order's own
commands, and the catalogue that orders take their prices from.
"""

from collections.abc import Mapping
from typing import Any

from orderflow.contexts.order import accepting, carrying_out, changing, sending
from orderflow.contexts.order.state import Order
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.decision import Decision, Keep, Refused
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import ProductChanged, ReservationExpiring
from orderflow.saga.moves import Signal
from orderflow.saga.orchestration import action_for, react
from orderflow.saga.signals import signal_of
from orderflow.saga.table import Action


def decide(state: Order | None, _shared: Mapping[str, Any], message: Message) -> Decision[Order]:
    """Decide one message for one order, or for the catalogue.

    Raises:
        Refused: the message names no order; a CreateOrder or ChangeOrderStatus asks for what cannot be.
    """
    if isinstance(message, ProductChanged):
        return _known_product(message)
    if not message.order_id:
        raise Refused("orderId", "this message is about an order")
    match message:
        case CreateOrder():
            return accepting.accept(state, message)
        case ChangeOrderStatus():
            return changing.change(state, message)
    signal = signal_of(state.saga if state else None, message)
    if signal is None:
        return Decision(state=state, outcome="ignored")
    if state is None:
        return _without_order(signal, message)
    return carrying_out.decision(state, react(state.saga, signal), message)


def _without_order(signal: Signal, message: Message) -> Decision[Order]:
    action = action_for(None, signal.kind, signal.step)
    if action is Action.RELEASE_RESERVATION and isinstance(message, ReservationExpiring):
        return Decision(state=None, outcome="applied", messages=(sending.release(None, message),))
    return Decision(state=None, outcome="ignored")


def _known_product(message: ProductChanged) -> Decision[Order]:
    product = Keep(
        table="catalogue",
        key={"product_id": message.product_id},
        values={
            "name": message.name,
            "price": message.price,
            "available": message.available,
            "version": message.version,
            "changed_at": message.occurred_at,
        },
        newest_by="version",
    )
    return Decision(state=None, outcome="applied", writes=(product,))
