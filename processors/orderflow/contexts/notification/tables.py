"""Notification's own tables. The templates are code, not rows: see :mod:`.templates`."""

from sqlalchemy import Column, MetaData, String, Table, Text

from orderflow.contexts.notification.state import Correspondence
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

KEY = String(200)
NAME = String(64)

correspondence = Table(
    "correspondence",
    metadata,
    Column("order_id", KEY, primary_key=True),
    *state_columns(),
)

notification_log = Table(
    "notification_log",
    metadata,
    Column("event_id", KEY, primary_key=True, comment="of the command that started it"),
    Column("notification_id", Text, nullable=False),
    Column("order_id", KEY, nullable=False, index=True),
    Column("template", Text, nullable=False),
    Column("status", NAME, nullable=False, comment="sending or undeliverable"),
    Column("sent_to", Text, nullable=False, comment="channels tried, with masked addresses"),
    Column("at", Moment, nullable=False),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("event_id", KEY, primary_key=True, comment="of the message with the provider's answer"),
    Column("notification_id", Text, nullable=False),
    Column("order_id", KEY, nullable=False, index=True),
    Column("channel", NAME, nullable=False),
    Column("status", NAME, nullable=False, comment="delivered or rejected"),
    Column("reference", Text, nullable=True, comment="the provider's"),
    Column("error", Text, nullable=True),
    Column("at", Moment, nullable=False),
)

CORRESPONDENCE: Rows[Correspondence] = Rows(table=correspondence, key="order_id", type=Correspondence)
