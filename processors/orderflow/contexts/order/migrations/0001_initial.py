"""Orders, the catalogue and the idempotency keys."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "order_0001"
down_revision = None
branch_labels = ("order",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column(
            "status", sa.String(64), nullable=False, comment="as shown outside, in the words of the order's flow"
        ),
        sa.Column("canonical", sa.String(64), nullable=False, comment="the status in the words of the audit trail"),
        sa.Column("phase", sa.String(64), nullable=False, comment="forward, compensating, completed or cancelled"),
        sa.Column("flow", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("customer_name", sa.String(200), nullable=False, comment="personal data"),
        sa.Column("product_ids", sa.Text, nullable=False, comment="of the items, one a line, for searching"),
        sa.Column("total", sa.Numeric(12, 2), nullable=False),
        sa.Column("carrier", sa.String(200), nullable=True),
        sa.Column("tracking_number", sa.String(200), nullable=True),
        sa.Column("shipped_at", sa.String(200), nullable=True),
        sa.Column("fulfillment_error", sa.Text, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
    )
    op.create_index("orders_by_time", "orders", ["created_at", "order_id"])
    op.create_index("orders_by_status", "orders", ["status", "created_at", "order_id"])
    op.create_index("orders_by_customer", "orders", ["customer_id", "created_at", "order_id"])
    op.create_table(
        "catalogue",
        sa.Column("product_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("price", sa.Numeric(12, 2), nullable=False),
        sa.Column("available", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, comment="of the stock row in inventory: the newest is kept"),
        sa.Column("changed_at", Moment, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column(
            "request_hash", sa.String(64), nullable=False, comment="SHA-256 of the request: one key, one request"
        ),
        sa.Column(
            "status_code", sa.Integer, nullable=True, comment="the answer is empty while its transaction is open"
        ),
        sa.Column("response", sa.LargeBinary, nullable=True),
        sa.Column("headers", sa.Text, nullable=True),
        sa.Column("order_id", sa.String(64), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
    )
    op.create_index("idempotency_keys_by_expiry", "idempotency_keys", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_table("catalogue")
    op.drop_table("orders")
