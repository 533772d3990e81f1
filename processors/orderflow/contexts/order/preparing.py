"""What a CreateOrder needs from the database and the configuration before it can be decided: prices and a plan.

Both go into the message, so that the recorded input of the decision is whole and decides the same for ever.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, select

from orderflow.contexts.order.tables import catalogue
from orderflow.contracts.commands import CreateOrder
from orderflow.contracts.envelope import Message
from orderflow.contracts.items import RequestedItem
from orderflow.runtime.statements import Statement
from orderflow.saga.flow import FlowBook

# Built once: building a statement costs as much as running it.
_PRICES = Statement(
    select(catalogue.c.product_id, catalogue.c.price).where(
        catalogue.c.product_id.in_(bindparam("products", expanding=True))
    )
)


def preparation(flows: FlowBook) -> Callable[[Connection, Message], Message]:
    """Return the function that completes a CreateOrder; other messages it leaves as they are.

    It raises ``Refused`` for a flow that there is not; an item whose product is not in the catalogue stays unpriced.
    """

    def prepare(connection: Connection, message: Message) -> Message:
        if not isinstance(message, CreateOrder):
            return message
        plan = flows.choose(message.flow, message.tenant)
        items = _priced(connection, message.items)
        return replace(message, items=items, plan=msgspec.Raw(msgspec.json.encode(plan)))

    return prepare


def _priced(connection: Connection, items: tuple[RequestedItem, ...]) -> tuple[RequestedItem, ...]:
    unpriced = sorted({item.product_id for item in items if item.price is None})
    if not unpriced:
        return items
    prices: dict[str, Decimal] = dict(_PRICES.rows(connection, {"products": unpriced}))
    return tuple(item if item.price is not None else replace(item, price=prices.get(item.product_id)) for item in items)
