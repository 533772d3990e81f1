"""The parts that several messages share."""

from typing import Literal

import msgspec

from orderflow.contracts.fields import (
    Amount,
    Checked,
    Count,
    Id,
    Label,
    PersonalName,
    PersonalText,
    Quantity,
    Rank,
    Text,
)


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Item(_Part, frozen=True, kw_only=True):
    """So many pieces of one product."""

    product_id: Id
    quantity: Quantity


class PricedItem(Checked, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """So many pieces of one product, each at ``price``."""

    product_id: Id
    quantity: Quantity
    price: Amount


class RequestedItem(Checked, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """As a customer names it: without a price, the catalogue's applies."""

    product_id: Id
    quantity: Quantity
    price: Amount | None = None


class ShortItem(_Part, frozen=True, kw_only=True):
    """A product of which there is less than was asked for."""

    product_id: Id
    requested_quantity: Quantity
    available_quantity: Count


class Customer(_Part, frozen=True, kw_only=True):
    """Who ordered. The name is personal data."""

    customer_id: Id
    name: PersonalName = ""


class Recipient(_Part, frozen=True, kw_only=True):
    """Whom to notify, and where. A missing address closes that channel."""

    customer_id: Id
    email: PersonalText | None = None
    phone: PersonalText | None = None
    push_token: PersonalText | None = None


ChannelName = Literal["email", "sms", "push"]


class Channel(_Part, frozen=True, kw_only=True):
    """One way to reach the recipient; lower ``priority`` goes first."""

    channel: ChannelName
    enabled: bool = True
    priority: Rank = 0


class FulfillmentDetails(_Part, frozen=True, kw_only=True):
    """What is known of the shipment, as the order shows it."""

    carrier: Label | None = None
    tracking_number: Label | None = None
    shipped_at: Label | None = None
    error_message: Text | None = None
