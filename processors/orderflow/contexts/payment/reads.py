"""What payment shows of itself."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from sqlalchemy import Connection, select

from orderflow.contexts.payment.state import refund_id_of
from orderflow.contexts.payment.tables import PAYMENTS, payment_transactions


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One side of one capture or refund; one of ``debit`` and ``credit`` is 0.00."""

    kind: str
    account: str
    debit: Decimal
    credit: Decimal
    reference: str | None
    at: datetime


class PaymentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One order's payment, with its ledger entries in the order they were made."""

    order_id: str
    payment_id: str
    status: str
    amount: Decimal
    captured: Decimal
    refunded: Decimal
    requested_at: datetime
    settled_at: datetime | None
    reference: str | None
    failure_reason: str | None
    refund_id: str | None
    refund_reason: str | None
    refunded_at: datetime | None
    entries: tuple[LedgerEntry, ...]


def payment(connection: Connection, parameters: Mapping[str, str]) -> PaymentView | None:
    """Return the payment of ``orderId``, or ``None`` if there is none."""
    order_id = parameters["orderId"]
    row = PAYMENTS.load(connection, [order_id], lock=False).get(order_id)
    if row is None:
        return None
    state = row.state
    return PaymentView(
        order_id=order_id,
        payment_id=state.payment_id,
        status=state.status,
        amount=state.amount,
        captured=state.captured,
        refunded=state.refunded,
        requested_at=state.requested_at,
        settled_at=state.settled_at,
        reference=state.reference,
        failure_reason=state.failure_reason,
        refund_id=refund_id_of(state.payment_id) if state.refund else None,
        refund_reason=state.refund.reason if state.refund else None,
        refunded_at=state.refund.refunded_at if state.refund else None,
        entries=_entries(connection, order_id),
    )


def _entries(connection: Connection, order_id: str) -> tuple[LedgerEntry, ...]:
    at = payment_transactions.c
    query = (
        select(at.kind, at.account, at.debit, at.credit, at.reference, at.at)
        .where(at.order_id == order_id)
        .order_by(at.at, at.kind, at.account)
    )
    return tuple(LedgerEntry(**row) for row in connection.execute(query).mappings())


ROUTES: Mapping[str, Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]] = {
    "/payments/{orderId}": payment,
}
