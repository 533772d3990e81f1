"""Journeys, windows and business events."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "analytics_0001"
down_revision = None
branch_labels = ("analytics",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journeys",
        sa.Column("order_id", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "windows",
        sa.Column("start", sa.String(64), primary_key=True, comment="RFC 3339, UTC: their order is that of time"),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False, comment="reported, and nothing has come since"),
        sa.Column("orders", sa.BigInteger, nullable=False),
        sa.Column("completed", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.BigInteger, nullable=False),
        sa.Column("payments", sa.BigInteger, nullable=False),
        sa.Column("payment_failures", sa.BigInteger, nullable=False),
        sa.Column("refunds", sa.BigInteger, nullable=False),
        sa.Column("reservations", sa.BigInteger, nullable=False),
        sa.Column("inventory_failures", sa.BigInteger, nullable=False),
        sa.Column("shipments", sa.BigInteger, nullable=False),
        sa.Column("shipment_failures", sa.BigInteger, nullable=False),
        sa.Column(
            "revenue_cents",
            sa.BigInteger,
            nullable=False,
            comment="cents, because SQLite adds up only integers exactly",
        ),
        sa.Column("refunded_cents", sa.BigInteger, nullable=False),
        sa.Column("completion_count", sa.BigInteger, nullable=False),
        sa.Column("completion_total_ms", sa.BigInteger, nullable=False),
        sa.Column("completion_max_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "business_events",
        sa.Column("event_id", sa.String(200), primary_key=True),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(200), nullable=False, index=True),
        sa.Column("at", Moment, nullable=False, index=True, comment="the event's own time"),
        sa.Column("amount", sa.Numeric(12, 2), nullable=True),
        sa.Column("attributes", sa.Text, nullable=False, comment="JSON, without personal data"),
    )


def downgrade() -> None:
    op.drop_table("business_events")
    op.drop_table("windows")
    op.drop_table("journeys")
