"""Payment: charges an order's customer once, gives the money back when asked, and keeps the books.

Owns payments and the payment transactions (a double-entry ledger). Takes OrderPaymentRequested and RefundPayment, and
the card provider's answers to its own calls; it acts on requests alone, never on facts about the order. Gives
PaymentSucceeded, PaymentFailed and PaymentRefunded.
"""

from orderflow.contexts.payment.answers import charge_answered, refund_answered
from orderflow.contexts.payment.decide import decide
from orderflow.contexts.payment.state import Payment, is_live
from orderflow.contexts.payment.tables import PAYMENTS, metadata
from orderflow.contracts.commands import OrderPaymentRequested, RefundPayment
from orderflow.contracts.outcomes import ChargeAnswered, RefundAnswered
from orderflow.contracts.topics import PAYMENT_COMMANDS
from orderflow.runtime.context import Context

PAYMENT: Context[Payment] = Context(
    name="payment",
    takes={PAYMENT_COMMANDS: frozenset({OrderPaymentRequested, RefundPayment, ChargeAnswered, RefundAnswered})},
    decide=decide,
    aggregate=PAYMENTS,
    tables=metadata,
    is_live=is_live,
    answers={"card/charge": charge_answered, "card/refund": refund_answered},
    compensations=frozenset({RefundPayment}),
)
