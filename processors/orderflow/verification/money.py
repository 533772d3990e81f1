"""Checks of an order's money: captured once, booked twice over, and known to the card provider as it is to us."""

from collections.abc import Iterator
from decimal import Decimal

from orderflow.contexts.payment.ledger import CLEARING, RECEIPTS, REFUNDS
from orderflow.contexts.payment.state import payment_id_of, refund_id_of
from orderflow.contracts.money import ZERO
from orderflow.providers.record import Record
from orderflow.verification.case import Case, Entry

ACCOUNTS = {"charge": (CLEARING, RECEIPTS), "refund": (REFUNDS, CLEARING)}
"""Of each kind of transaction, the account that is debited and the one that is credited."""


def one_capture(case: Case) -> Iterator[str]:
    """Neither the provider nor our ledger has captured more than once."""
    charges = case.done("card", "charge", "succeeded")
    if len(charges) > 1:
        yield f"the card provider has charged it {len(charges)} times: {', '.join(sorted(c.key for c in charges))}"
    booked = sum(entry.kind == "charge" and entry.account == CLEARING for entry in case.entries)
    if booked > 1:
        yield f"our ledger has {booked} captures of it"


def balances(case: Case) -> Iterator[str]:
    """Each transaction debits one account and credits the other by the same amount."""
    transactions: dict[tuple[str, str], list[Entry]] = {}
    for entry in case.entries:
        transactions.setdefault((entry.payment_id, entry.kind), []).append(entry)
    for (payment_id, kind), entries in transactions.items():
        debit = sum((entry.debit for entry in entries), ZERO)
        credit = sum((entry.credit for entry in entries), ZERO)
        if debit != credit:
            yield f"the {kind} of payment {payment_id} debits {debit} and credits {credit}"
        elif not _is_two_sided(kind, entries):
            yield f"the {kind} of payment {payment_id} is not booked from one account to the other"


def _is_two_sided(kind: str, entries: list[Entry]) -> bool:
    debited, credited = ACCOUNTS.get(kind, ("", ""))
    by_account = {entry.account: entry for entry in entries}
    return (
        len(entries) == 2
        and by_account.keys() == {debited, credited}
        and not by_account[debited].credit
        and not by_account[credited].debit
    )


def accounted(case: Case) -> Iterator[str]:
    """The payment says what its ledger entries say."""
    captured, refunded = booked(case, "charge"), booked(case, "refund")
    payment = case.payment
    if payment is None:
        if case.entries:
            yield "our ledger has entries of it, and there is no payment"
        return
    if captured != payment.captured:
        yield f"its payment says that {payment.captured} was captured, our ledger {captured}"
    if refunded != payment.refunded:
        yield f"its payment says that {payment.refunded} was refunded, our ledger {refunded}"
    if refunded > captured:
        yield f"{refunded} was refunded of {captured}"


def booked(case: Case, kind: str) -> Decimal:
    """Return what the transactions of ``kind`` have moved."""
    return sum((entry.debit for entry in case.entries if entry.kind == kind), ZERO)


def card_agrees(case: Case) -> Iterator[str]:
    """What we say was captured and refunded is what the card provider says, charge by charge."""
    if not case.is_settled("payment"):
        return
    payment_id = payment_id_of(case.key)
    yield from _agree("captured", "charge", payment_id, booked(case, "charge"), _moved(case, "charge"))
    yield from _agree("refunded", "refund", refund_id_of(payment_id), booked(case, "refund"), _moved(case, "refund"))


def _moved(case: Case, operation: str) -> list[Record]:
    return case.done("card", operation, "succeeded")


def _agree(word: str, operation: str, key: str, ours: Decimal, theirs: list[Record]) -> Iterator[str]:
    known = sum((record.amount or ZERO for record in theirs if record.key == key), ZERO)
    if known != ours:
        yield f"the card provider has {word} {known} under {key}, our ledger {ours}"
    for record in theirs:
        if record.key != key:
            yield f"the card provider has a {operation} of {record.amount} under {record.key}, which is none of ours"
