"""Correspondence, the notification log and the providers' answers."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "notification_0001"
down_revision = None
branch_labels = ("notification",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "correspondence",
        sa.Column("order_id", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "notification_log",
        sa.Column("event_id", sa.String(200), primary_key=True, comment="of the command that started it"),
        sa.Column("notification_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.String(200), nullable=False, index=True),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("status", sa.String(64), nullable=False, comment="sending or undeliverable"),
        sa.Column("sent_to", sa.Text, nullable=False, comment="channels tried, with masked addresses"),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("event_id", sa.String(200), primary_key=True, comment="of the message with the provider's answer"),
        sa.Column("notification_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.String(200), nullable=False, index=True),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("status", sa.String(64), nullable=False, comment="delivered or rejected"),
        sa.Column("reference", sa.Text, nullable=True, comment="the provider's"),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("at", Moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("delivery_attempts")
    op.drop_table("notification_log")
    op.drop_table("correspondence")
