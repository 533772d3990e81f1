"""What every message has in common.

One tagged struct per message type (the tag is ``eventType``), with the common fields at the top level, as the
requirements print them. The payload fields of each type stand in :mod:`.commands`, :mod:`.events` and :mod:`.outcomes`.
"""

from datetime import UTC, datetime
from typing import ClassVar, Final

import msgspec

from orderflow.contracts.fields import (
    Checked,
    EventId,
    Label,
    Name,
    OrderId,
    PersonalName,
    PersonalText,
    Version,
)

__all__ = ["DEFAULT_TENANT", "Message", "Metadata", "PersonalName", "PersonalText", "caused_by"]


DEFAULT_TENANT: Final = "default"
"""Whose orders are those that name no tenant."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a message comes from. ``correlation_id`` is constant over one order's whole story."""

    source: Name = ""
    correlation_id: Label = ""
    causation_id: Label | None = None
    # A factory, because ``omit_defaults`` compares by identity: a tenant that was read would be written, ours not.
    tenant: Name = msgspec.field(default_factory=lambda: DEFAULT_TENANT)


class Message(Checked, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="eventType"):
    """Base of every message. Instances are immutable; equality is by content.

    ``event_id`` names this message, once and for ever; ``schema_version`` is ``major.minor``, and a reader refuses
    only a major it does not know. ``order_id`` is empty for the few messages that concern no order.
    """

    VERSION: ClassVar[str] = "1.0"
    TIME: ClassVar[str] = ""
    """The field that says when this happened; every concrete type names one."""
    KEY: ClassVar[str] = "order_id"
    """The field by which the message is partitioned."""

    event_id: EventId
    # A factory, because ``omit_defaults`` would leave a plain default out of the JSON.
    schema_version: Version = msgspec.field(default_factory=lambda: Message.VERSION)
    order_id: OrderId = ""
    metadata: Metadata = msgspec.field(default_factory=Metadata)

    @property
    def event_type(self) -> str:
        """The name under which the type stands in ``eventType``."""
        return type(self).__name__

    @property
    def occurred_at(self) -> datetime:
        """When this happened (UTC), from the payload: the only clock that a decision sees."""
        moment: datetime = getattr(self, self.TIME)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def key(self) -> str:
        """The partitioning key: messages of one key stay in order."""
        value: str = getattr(self, self.KEY)
        return value


def caused_by(cause: Message, source: str) -> Metadata:
    """Return the metadata of a message that ``source`` sends because of ``cause``."""
    return Metadata(
        source=source,
        correlation_id=cause.metadata.correlation_id or cause.order_id,
        causation_id=cause.event_id,
        tenant=cause.metadata.tenant,
    )
