"""The order context's own tables."""

from collections.abc import Mapping

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Numeric, String, Table, Text

from orderflow.contexts.order.state import Order
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

ID = String(64)
NAME = String(64)
LABEL = String(200)
MONEY = Numeric(12, 2)

orders = Table(
    "orders",
    metadata,
    Column("order_id", ID, primary_key=True),
    *state_columns(),
    Column("status", NAME, nullable=False, comment="as shown outside, in the words of the order's flow"),
    Column("canonical", NAME, nullable=False, comment="the status in the words of the audit trail"),
    Column("phase", NAME, nullable=False, comment="forward, compensating, completed or cancelled"),
    Column("flow", NAME, nullable=False),
    Column("tenant", NAME, nullable=False),
    Column("customer_id", ID, nullable=False),
    Column("customer_name", LABEL, nullable=False, comment="personal data"),
    Column("product_ids", Text, nullable=False, comment="of the items, one a line, for searching"),
    Column("total", MONEY, nullable=False),
    Column("carrier", LABEL, nullable=True),
    Column("tracking_number", LABEL, nullable=True),
    Column("shipped_at", LABEL, nullable=True),
    Column("fulfillment_error", Text, nullable=True),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index("orders_by_time", "created_at", "order_id"),
    Index("orders_by_status", "status", "created_at", "order_id"),
    Index("orders_by_customer", "customer_id", "created_at", "order_id"),
)

catalogue = Table(
    "catalogue",
    metadata,
    Column("product_id", ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("available", Integer, nullable=False),
    Column("version", Integer, nullable=False, comment="of the stock row in inventory: the newest is kept"),
    Column("changed_at", Moment, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", LABEL, primary_key=True),
    Column("key", LABEL, primary_key=True),
    Column("request_hash", NAME, nullable=False, comment="SHA-256 of the request: one key, one request"),
    Column("status_code", Integer, nullable=True, comment="the answer is empty while its transaction is open"),
    Column("response", LargeBinary, nullable=True),
    Column("headers", Text, nullable=True),
    Column("order_id", ID, nullable=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("idempotency_keys_by_expiry", "expires_at"),
)


def _projected(order: Order) -> Mapping[str, object]:
    saga, fulfillment = order.saga, order.fulfillment
    return {
        "status": saga.word,
        "canonical": saga.status,
        "phase": saga.phase.value,
        "flow": order.flow,
        "tenant": order.tenant,
        "customer_id": order.customer.customer_id,
        "customer_name": order.customer.name,
        "product_ids": "\n".join(sorted({item.product_id for item in order.items})),
        "total": order.total,
        "carrier": fulfillment.carrier,
        "tracking_number": fulfillment.tracking_number,
        "shipped_at": fulfillment.shipped_at,
        "fulfillment_error": fulfillment.error_message,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }


ORDERS: Rows[Order] = Rows(table=orders, key="order_id", type=Order, columns=_projected)
