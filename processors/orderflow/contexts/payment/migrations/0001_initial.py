"""Payments and the ledger."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "payment_0001"
down_revision = None
branch_labels = ("payment",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payments",
        sa.Column("order_id", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("payment_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("amount", sa.Numeric(12, 2), nullable=False),
        sa.Column("captured", sa.Numeric(12, 2), nullable=False),
        sa.Column("refunded", sa.Numeric(12, 2), nullable=False),
    )
    op.create_table(
        "payment_transactions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("order_id", sa.String(200), nullable=False, index=True),
        sa.Column("payment_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False, comment="charge or refund"),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("debit", sa.Numeric(12, 2), nullable=False),
        sa.Column("credit", sa.Numeric(12, 2), nullable=False),
        sa.Column("reference", sa.String(200), nullable=True, comment="the card provider's"),
        sa.Column("event_id", sa.String(200), nullable=False, comment="of the provider's answer"),
        sa.Column("at", Moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("payment_transactions")
    op.drop_table("payments")
