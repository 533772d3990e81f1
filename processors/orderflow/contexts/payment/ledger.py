"""The double-entry ledger: what a capture or a refund appends to ``payment_transactions``.

Every event of money is two entries of the same amount, one debit and one credit, so that the debits of all entries
equal the credits. ``provider-clearing`` is what the card provider owes us: its balance is captured less refunded.
"""

from typing import Literal

from orderflow.contexts.payment.state import Payment
from orderflow.contracts.decision import Append
from orderflow.contracts.identity import derive
from orderflow.contracts.money import ZERO
from orderflow.contracts.outcomes import ChargeAnswered, RefundAnswered

TABLE = "payment_transactions"
CLEARING = "provider-clearing"
RECEIPTS = "customer-receipts"
REFUNDS = "customer-refunds"

Kind = Literal["charge", "refund"]


def capture(payment: Payment, answer: ChargeAnswered) -> tuple[Append, Append]:
    """Return the entries of a charge that succeeded."""
    return _entries("charge", payment, answer, debited=CLEARING, credited=RECEIPTS)


def refund(payment: Payment, answer: RefundAnswered) -> tuple[Append, Append]:
    """Return the entries of a refund that was made."""
    return _entries("refund", payment, answer, debited=REFUNDS, credited=CLEARING)


def _entries(
    kind: Kind, payment: Payment, answer: ChargeAnswered | RefundAnswered, *, debited: str, credited: str
) -> tuple[Append, Append]:
    def entry(account: str) -> Append:
        return Append(
            table=TABLE,
            values={
                # Named by payment, kind and account alone: the primary key lets nobody book a second capture or refund.
                "id": derive(payment.payment_id, kind, account),
                "order_id": payment.order_id,
                "payment_id": payment.payment_id,
                "kind": kind,
                "account": account,
                "debit": payment.amount if account == debited else ZERO,
                "credit": payment.amount if account == credited else ZERO,
                "reference": answer.reference,
                "event_id": answer.event_id,
                "at": answer.occurred_at,
            },
        )

    return entry(debited), entry(credited)
