"""The bodies that the order API takes, and the commands they become."""

from datetime import datetime
from typing import Annotated

import msgspec

from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.envelope import Metadata
from orderflow.contracts.fields import Id, Name, PersonalName, PersonalText, Text
from orderflow.contracts.items import Customer, FulfillmentDetails, Recipient, RequestedItem
from orderflow.gateway.problems import Problem

SOURCE = "order-api"


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class CustomerBody(_Body, frozen=True, kw_only=True):
    """Who orders."""

    customer_id: Id | None = None
    name: PersonalName | None = None


class RecipientBody(_Body, frozen=True, kw_only=True):
    """Where the customer is notified. A missing address closes that channel."""

    email: PersonalText | None = None
    phone: PersonalText | None = None
    push_token: PersonalText | None = None


class OrderBody(_Body, frozen=True, kw_only=True):
    """A new order.

    The customer is named by ``customerId`` and ``customerName`` or, just as well, by ``customer``. Items without a
    price take the catalogue's. Without ``flow`` the tenant's flow applies, or else the default one.
    """

    items: Annotated[tuple[RequestedItem, ...], msgspec.Meta(min_length=1, max_length=100)]
    customer_id: Id | None = None
    customer_name: PersonalName | None = None
    customer: CustomerBody | None = None
    recipient: RecipientBody | None = None
    flow: Name | None = None
    tenant: Name | None = None


class StatusBody(_Body, frozen=True, kw_only=True):
    """Another status for an order, in the words of its flow."""

    status: Name
    reason: Text = ""
    fulfillment: FulfillmentDetails | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a request adds to its body: the identifiers it was given and the time it came."""

    order_id: str
    event_id: str
    correlation_id: str
    at: datetime


def create_order(body: OrderBody, origin: Origin) -> CreateOrder:
    """Return the command that ``body`` stands for.

    Raises:
        Problem: 422 where no customer is named, or two.
    """
    customer = body.customer or CustomerBody()
    customer_id = _agreed("customerId", body.customer_id, customer.customer_id)
    if not customer_id:
        raise Problem(422, "invalid-request", "say who orders", field="customerId")
    recipient = body.recipient or RecipientBody()
    tenant = body.tenant or "default"
    return CreateOrder(
        event_id=origin.event_id,
        order_id=origin.order_id,
        metadata=Metadata(source=SOURCE, correlation_id=origin.correlation_id, tenant=tenant),
        customer_id=customer_id,
        customer=Customer(
            customer_id=customer_id, name=_agreed("customerName", body.customer_name, customer.name) or ""
        ),
        items=body.items,
        requested_at=origin.at,
        flow=body.flow,
        tenant=tenant,
        recipient=Recipient(
            customer_id=customer_id, email=recipient.email, phone=recipient.phone, push_token=recipient.push_token
        ),
    )


def change_status(body: StatusBody, origin: Origin) -> ChangeOrderStatus:
    """Return the command that ``body`` stands for."""
    return ChangeOrderStatus(
        event_id=origin.event_id,
        order_id=origin.order_id,
        metadata=Metadata(source=SOURCE, correlation_id=origin.correlation_id),
        status=body.status,
        requested_at=origin.at,
        reason=body.reason,
        fulfillment=body.fulfillment,
    )


def _agreed(field: str, one: str | None, other: str | None) -> str | None:
    """Return what the two places that may say the same thing say."""
    if one is not None and other is not None and one != other:
        raise Problem(422, "invalid-request", "the body says this twice, and differently", field=field)
    return one if one is not None else other
