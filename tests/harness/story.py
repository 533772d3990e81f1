"""Orders that meet every fate there is: what tests of whole systems tell."""

from decimal import Decimal

from harness.pump import System
from orderflow.contexts.order.tables import idempotency_keys
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.items import Customer, Recipient, RequestedItem
from orderflow.contracts.topics import PAYMENT_COMMANDS
from orderflow.spec.products import Product

LAMP = Product(id="lamp", name="Lamp", price=Decimal("10.00"), stock=100)
NAME = "Ada Lovelace"
MAIL = "lovelace@example.com"

ORDERS = (
    *("shipped", "sold", "collected", "posted", "late", "reported"),
    *("declined", "short", "rejected", "refused", "withdrawn"),
)
"""By the names of their fates: the first six complete, the others are cancelled or fail."""


def create(system: System, order_id: str, flow: str, *, customer: str = "ada", pieces: int = 1) -> None:
    """Place an order for lamps."""
    system.ask(
        CreateOrder(
            event_id=f"create {order_id}",
            order_id=order_id,
            customer_id=customer,
            customer=Customer(customer_id=customer, name=NAME),
            items=(RequestedItem(product_id=LAMP.id, quantity=pieces),),
            requested_at=system.clock.now(),
            flow=flow,
            recipient=Recipient(customer_id=customer, email=MAIL),
        )
    )


def change(system: System, order_id: str, status: str) -> None:
    """Set an order's status, as a client of the order API may."""
    at = system.clock.now()
    system.ask(ChangeOrderStatus(event_id=f"{status} {order_id}", order_id=order_id, status=status, requested_at=at))


def live_through_everything(system: System) -> None:
    """Lead an order to each end, and along the ways there that are easy to get wrong."""
    system.declare(LAMP)
    system.settle()
    create(system, "late", "payment-first")
    create(system, "withdrawn", "order-to-delivery")
    create(system, "reported", "ship-only")
    system.settle(resting={"payment", "fulfillment"})
    change(system, "withdrawn", "Cancelled")
    change(system, "reported", "Shipped")
    # Payment is asked again before it has answered once.
    system.wait(11, resting={"payment"})
    create(system, "shipped", "order-to-delivery", pieces=2)
    _remember(system, "shipped")
    create(system, "sold", "payment-first")
    create(system, "collected", "reserve-first")
    create(system, "posted", "ship-only")
    create(system, "declined", "order-to-delivery", customer="customer-declined")
    create(system, "short", "order-to-delivery", pieces=1000)
    create(system, "rejected", "order-to-delivery", customer="carrier-rejects")
    create(system, "refused", "ship-only", customer="carrier-rejects")
    system.settle()
    # Somebody writes to a topic that is not theirs.
    system.broker.append(PAYMENT_COMMANDS, "shipped", b"{no message", {})
    system.settle()
    system.see_to("payment", 1, "discard", "not ours")
    # The window is reported.
    system.wait(70)


def _remember(system: System, order_id: str) -> None:
    now = system.clock.now()
    row = {
        "principal": "ada",
        "key": "first",
        "request_hash": "",
        "status_code": 200,
        "response": b"{}",
        "headers": "{}",
        "order_id": order_id,
        "created_at": now,
        "expires_at": now,
    }
    with system.databases["order"].begin() as connection:
        connection.execute(idempotency_keys.insert().values(row))
