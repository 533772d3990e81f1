"""How an order comes about: a command is checked, priced and planned already, and becomes an order or is refused."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from orderflow.contexts.order import carrying_out
from orderflow.contexts.order.state import Order
from orderflow.contracts.commands import CreateOrder
from orderflow.contracts.decision import Decision, Refused
from orderflow.contracts.fields import LARGEST_INTEGER
from orderflow.contracts.items import PricedItem, RequestedItem
from orderflow.contracts.money import LARGEST_TOTAL, ZERO
from orderflow.saga.flow import Plan
from orderflow.saga.orchestration import action_for, begin
from orderflow.saga.table import Action, Kind

MOST_ITEMS = 100

_plans = msgspec.json.Decoder(Plan)


def accept(order: Order | None, message: CreateOrder) -> Decision[Order]:
    """Decide a CreateOrder.

    The same order again (customer, products, quantities, tenant, flow) is repeated, even if prices have changed since.

    Raises:
        Refused: the order cannot be, or another one has its id.
    """
    if order is None:
        return _accepted(message)
    kind = Kind.CREATE if _is_the_same(order, message) else Kind.CREATE_OTHER
    if action_for(order.saga, kind, order.saga.last_step) is Action.REFUSE:
        raise Refused("orderId", "there is another order with this id", conflict=True)
    return Decision(state=order, outcome="repeated")


def _accepted(message: CreateOrder) -> Decision[Order]:
    if not message.customer_id:
        raise Refused("customerId", "an order has a customer")
    items = _priced(message.items)
    plan = _plan_of(message)
    at = message.occurred_at
    move = begin(message.order_id, plan)
    order = Order(
        saga=move.saga,
        tenant=message.tenant,
        correlation_id=message.metadata.correlation_id or message.order_id,
        customer=msgspec.structs.replace(message.customer, customer_id=message.customer_id),
        items=items,
        total=_total_of(items),
        created_at=at,
        updated_at=at,
        recipient=message.recipient,
    )
    return carrying_out.decision(order, move, message)


def _priced(requested: Sequence[RequestedItem]) -> tuple[PricedItem, ...]:
    if not 1 <= len(requested) <= MOST_ITEMS:
        raise Refused("items", f"an order has 1 to {MOST_ITEMS} items, got {len(requested)}")
    pieces: dict[str, int] = {}
    for index, item in enumerate(requested):
        at = f"items[{index}]"
        pieces[item.product_id] = pieces.get(item.product_id, 0) + item.quantity
        if item.quantity < 1:
            raise Refused(f"{at}.quantity", f"a quantity is at least 1, got {item.quantity}")
        if pieces[item.product_id] > LARGEST_INTEGER:
            raise Refused(f"{at}.quantity", f"at most {LARGEST_INTEGER} pieces of a product can be ordered")
    return tuple(_priced_item(item, f"items[{index}]") for index, item in enumerate(requested))


def _priced_item(item: RequestedItem, at: str) -> PricedItem:
    if item.price is None:
        raise Refused(f"{at}.productId", f"there is no product {item.product_id!r}")
    return PricedItem(product_id=item.product_id, quantity=item.quantity, price=item.price)


def _total_of(items: Sequence[PricedItem]) -> Decimal:
    total = sum((item.price * item.quantity for item in items), ZERO)
    if total > LARGEST_TOTAL:
        raise Refused("items", f"an order costs at most {LARGEST_TOTAL}, got {total}")
    return total


def _plan_of(message: CreateOrder) -> Plan:
    plan = _decoded(message.plan) if isinstance(message.plan, msgspec.Raw) else None
    if plan is None or not plan.steps:
        raise Refused("flow", "the order was not given a plan")
    return plan


def _decoded(plan: msgspec.Raw) -> Plan | None:
    try:
        return _plans.decode(plan)
    except msgspec.DecodeError:
        return None


def _is_the_same(order: Order, message: CreateOrder) -> bool:
    ordered = [(item.product_id, item.quantity) for item in order.items]
    wanted = [(item.product_id, item.quantity) for item in message.items]
    return (
        ordered == wanted
        and order.customer.customer_id == message.customer_id
        and order.tenant == message.tenant
        and message.flow in {None, order.flow}
    )
