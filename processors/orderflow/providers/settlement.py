"""What the simulated outside answers: pure rules over a request and what is recorded on its subject.

A subject is the charge, booking or delivery that a request concerns, named by the key it was first asked for under.
Everything on one subject is settled one after the other, so these rules may count on what they are shown.

Two customers make a demonstration predictable, whatever the fault switches say: every charge of
``customer-declined`` is declined, and every booking for ``carrier-rejects`` is rejected.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from orderflow.contracts.identity import derive
from orderflow.contracts.money import ZERO
from orderflow.contracts.money import amount as exact
from orderflow.providers.protocol import ProviderError, ProviderRequest
from orderflow.providers.record import Record

T = TypeVar("T")

DECLINED_CUSTOMER: Final = "customer-declined"
REJECTED_CUSTOMER: Final = "carrier-rejects"

DECLINE_REASONS: Final = ("insufficient funds", "card declined")
CARRIERS: Final = (("Swift Parcel", "SWP"), ("Harbour Freight Lines", "HFL"), ("Northern Express", "NEX"))
"""Name, and what its tracking numbers begin with."""


class RequestError(ProviderError):
    """The request cannot be understood: an unknown operation, or an argument missing or malformed. Repeating it
    helps as little as asking what became of it: the caller has a bug.
    """


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and the money it moves (``None`` where it moves none)."""

    status: str
    reference: str | None = None
    detail: dict[str, str] = {}
    amount: Decimal | None = None


Rule = Callable[[ProviderRequest, Sequence[Record], bool], Verdict]
"""``rule(request, known, declined)``: ``known`` is what is recorded on the subject, ``declined`` whether the fault
switches want a refusal where one is possible."""


def charge(request: ProviderRequest, known: Sequence[Record], declined: bool) -> Verdict:
    """Take ``amount`` from the customer: ``succeeded`` (detail ``amount``) or ``declined`` (detail ``reason``)."""
    money = _amount(request)
    if declined or request.arguments.get("customerId") == DECLINED_CUSTOMER:
        return Verdict(status="declined", detail={"reason": _pick(DECLINE_REASONS, request)})
    return Verdict(status="succeeded", reference=_reference("ch", request), detail={"amount": str(money)}, amount=money)


def refund(request: ProviderRequest, known: Sequence[Record], declined: bool) -> Verdict:
    """Give ``amount`` back: ``succeeded``, or ``declined`` where less than that is left of what was charged."""
    money = _amount(request)
    left = _moved(known, "charge") - _moved(known, "refund")
    if money > left:
        return Verdict(status="declined", detail={"reason": f"{left} of the charge is left, {money} was asked for"})
    return Verdict(status="succeeded", reference=_reference("re", request), detail={"amount": str(money)}, amount=money)


def book(request: ProviderRequest, known: Sequence[Record], declined: bool) -> Verdict:
    """Take the goods: ``shipped`` (detail ``carrier``, ``trackingNumber``) or ``rejected`` (detail ``reason``).

    A booking that was cancelled before it came is rejected.
    """
    if any(record.operation == "cancel" for record in known):
        return Verdict(status="rejected", detail={"reason": "Cancelled before it was booked"})
    if declined or request.arguments.get("customerId") == REJECTED_CUSTOMER:
        return Verdict(status="rejected", detail={"reason": "Simulated carrier rejection"})
    carrier, prefix = _pick(CARRIERS, request)
    number = f"{prefix}-{_token(request)[:12].upper()}"
    return Verdict(status="shipped", reference=number, detail={"carrier": carrier, "trackingNumber": number})


def cancel(request: ProviderRequest, known: Sequence[Record], declined: bool) -> Verdict:
    """Stop a booking, come or still to come: ``cancelled``; or ``shipped``, as the booking was answered: too late."""
    for record in known:
        if record.operation == "book" and record.status == "shipped":
            return Verdict(status="shipped", reference=record.reference, detail=record.detail)
    return Verdict(status="cancelled")


def deliver(request: ProviderRequest, known: Sequence[Record], declined: bool) -> Verdict:
    """Bring a message to ``address``: ``delivered`` or ``rejected`` (detail ``reason``).

    Of the address only a hash is kept (detail ``addressHash``), salted with the key.
    """
    address = request.arguments.get("address", "")
    if not address:
        return Verdict(status="rejected", detail={"reason": "No address"})
    kept = {"addressHash": sha256(f"{request.key}/{address}".encode()).hexdigest()}
    if declined:
        return Verdict(status="rejected", detail={**kept, "reason": "Simulated channel rejection"})
    return Verdict(status="delivered", reference=_reference("msg", request), detail=kept)


def _amount(request: ProviderRequest) -> Decimal:
    text = request.arguments.get("amount", "")
    try:
        money = exact(text)
    except (ValueError, ArithmeticError) as error:
        raise RequestError(f"{request.operation} {request.key}: amount: expected money, got {text!r}") from error
    if money < 0:
        raise RequestError(f"{request.operation} {request.key}: amount: expected 0.00 or more, got {money}")
    return money


def _moved(known: Sequence[Record], operation: str) -> Decimal:
    return sum((record.amount or ZERO for record in known if record.operation == operation), ZERO)


def _token(request: ProviderRequest) -> str:
    """Hexadecimal digits that follow from the request's operation and key."""
    return UUID(derive(request.operation, request.key)).hex


def _reference(prefix: str, request: ProviderRequest) -> str:
    return f"{prefix}_{_token(request)}"


def _pick(choices: Sequence[T], request: ProviderRequest) -> T:
    return choices[int(_token(request), 16) % len(choices)]
