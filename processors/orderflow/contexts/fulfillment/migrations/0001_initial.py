"""Shipments and the carrier's answers."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "fulfillment_0001"
down_revision = None
branch_labels = ("fulfillment",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shipments",
        sa.Column("order_id", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("shipment_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("carrier", sa.Text, nullable=True),
        sa.Column("tracking_number", sa.Text, nullable=True),
        sa.Column("settled_at", Moment, nullable=True, comment="when the status became final"),
    )
    op.create_table(
        "shipment_attempts",
        sa.Column("event_id", sa.String(200), primary_key=True, comment="of the message with the carrier's answer"),
        sa.Column("shipment_id", sa.String(64), nullable=False, index=True),
        sa.Column("operation", sa.String(64), nullable=False, comment="book or cancel"),
        sa.Column("status", sa.String(64), nullable=False, comment="shipped, rejected or cancelled"),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("at", Moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("shipment_attempts")
    op.drop_table("shipments")
