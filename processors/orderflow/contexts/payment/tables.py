"""Payment's own tables."""

from collections.abc import Mapping

from sqlalchemy import Column, MetaData, Numeric, String, Table

from orderflow.contexts.payment import ledger
from orderflow.contexts.payment.state import Payment
from orderflow.runtime.columns import Moment
from orderflow.runtime.rows import Rows, state_columns

metadata = MetaData()

ID = String(64)
KEY = String(200)
NAME = String(64)
MONEY = Numeric(12, 2)

payments = Table(
    "payments",
    metadata,
    Column("order_id", KEY, primary_key=True),
    *state_columns(),
    Column("payment_id", ID, nullable=False),
    Column("status", NAME, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("captured", MONEY, nullable=False),
    Column("refunded", MONEY, nullable=False),
)

payment_transactions = Table(
    ledger.TABLE,
    metadata,
    Column("id", ID, primary_key=True),
    Column("order_id", KEY, nullable=False, index=True),
    Column("payment_id", ID, nullable=False),
    Column("kind", NAME, nullable=False, comment="charge or refund"),
    Column("account", NAME, nullable=False),
    Column("debit", MONEY, nullable=False),
    Column("credit", MONEY, nullable=False),
    Column("reference", KEY, nullable=True, comment="the card provider's"),
    Column("event_id", KEY, nullable=False, comment="of the provider's answer"),
    Column("at", Moment, nullable=False),
)


def _projected(payment: Payment) -> Mapping[str, object]:
    return {
        "payment_id": payment.payment_id,
        "status": payment.status,
        "amount": payment.amount,
        "captured": payment.captured,
        "refunded": payment.refunded,
    }


PAYMENTS: Rows[Payment] = Rows(table=payments, key="order_id", type=Payment, columns=_projected)
