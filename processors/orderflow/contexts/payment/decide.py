"""What payment does with each message, in each state. Pure, and total over both.

An order has one payment: one charge under one key, and one refund of the whole of it under another. Whatever is asked,
in whatever order and however often, there is never a second capture:

- a request for another amount than the first one's is refused as a dead letter, not answered: PaymentFailed would let
  the order forget a charge that was made, PaymentSucceeded would settle the wrong sum. The order, unanswered,
  compensates, and the refund gives back what was captured;
- a refund gives back what was captured, whatever amount it names: it undoes the charge;
- a refund waits for a charge in flight, because only the provider knows whether there is something to give back;
- a refund of which no request is known leaves a tombstone that refuses the request.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from orderflow.contexts.payment import ledger, replies
from orderflow.contexts.payment.state import (
    Payment,
    Refund,
    charge_task_of,
    payment_id_of,
    refund_id_of,
    refund_task_of,
)
from orderflow.contracts.commands import OrderPaymentRequested, RefundPayment
from orderflow.contracts.decision import Call, Decision, Refused, Transition
from orderflow.contracts.envelope import Message
from orderflow.contracts.money import ZERO
from orderflow.contracts.outcomes import ChargeAnswered, RefundAnswered

PROVIDER = "card"
STEP = "payment"


def decide(state: Payment | None, _shared: Mapping[str, object], message: Message) -> Decision[Payment]:
    """Decide one message for one order's payment.

    Raises:
        Refused: the request's amount is not the first request's; the refund names a payment that is not the order's;
            the provider answered for another amount than it was asked for.
    """
    match message:
        case OrderPaymentRequested():
            return _requested(state, message)
        case RefundPayment():
            return _refund_requested(state, message)
        case ChargeAnswered():
            return _charge_answered(state, message)
        case RefundAnswered():
            return _refund_answered(state, message)
        case _:
            return Decision(state=state, outcome="ignored")


def _requested(state: Payment | None, message: OrderPaymentRequested) -> Decision[Payment]:
    if state is None:
        return _charge(message)
    match state.status:
        case "refused" | "refunded":
            return Decision(state=state, outcome="late", messages=(replies.compensated(message),))
        case "failed":
            return _repeat(state, replies.declined(state, message, request_id=message.request_id))
        case "refunding":
            # PaymentRefunded is still to come: a failure told before it could let the order end with the refund open.
            return Decision(state=state, outcome="late")
        case "charging" | "succeeded":
            _same_amount(state, message.amount)
            if state.status == "charging":
                return _repeat(state)
            return _repeat(state, replies.succeeded(state, message, request_id=message.request_id))


def _refund_requested(state: Payment | None, message: RefundPayment) -> Decision[Payment]:
    if message.payment_id and message.payment_id != payment_id_of(message.order_id):
        raise Refused("paymentId", f"the order has no payment {message.payment_id}", conflict=True)
    if state is None:
        return _tombstone(message)
    match state.status:
        case "charging" if state.refund is None:
            return _refund_later(state, message)
        case "charging" | "refunding":
            return _repeat(state)
        case "succeeded":
            return _refund(state, message)
        case "refunded":
            return _repeat(state, replies.refunded(state, message, request_id=message.request_id))
        case "failed" | "refused":
            return _repeat(state, replies.nothing_refunded(message, request_id=message.request_id))


def _charge_answered(state: Payment | None, message: ChargeAnswered) -> Decision[Payment]:
    if state is None or state.status != "charging" or message.task_id != charge_task_of(state.payment_id):
        return Decision(state=state, outcome="late")
    if message.status == "succeeded":
        _same_amount(state, message.amount)
        return _captured(state, message)
    return _declined(state, message)


def _refund_answered(state: Payment | None, message: RefundAnswered) -> Decision[Payment]:
    if (
        state is None
        or state.refund is None
        or state.status != "refunding"
        or message.task_id != refund_task_of(state.payment_id)
    ):
        return Decision(state=state, outcome="late")
    _same_amount(state, message.amount)
    refund = msgspec.structs.replace(state.refund, refunded_at=message.occurred_at, reference=message.reference)
    after = msgspec.structs.replace(state, status="refunded", refund=refund)
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved(state.status, after.status),),
        messages=(replies.refunded(after, message, request_id=refund.request_id),),
        writes=ledger.refund(after, message),
    )


def _charge(message: OrderPaymentRequested) -> Decision[Payment]:
    after = Payment(
        order_id=message.order_id,
        status="charging",
        amount=message.amount,
        requested_at=message.occurred_at,
        request_id=message.request_id,
    )
    call = Call(
        task_id=charge_task_of(after.payment_id),
        provider=PROVIDER,
        operation="charge",
        key=after.payment_id,
        arguments={
            "paymentId": after.payment_id,
            "orderId": after.order_id,
            "customerId": message.customer_id,
            "amount": str(after.amount),
        },
    )
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved("", after.status, attempt=message.attempt),),
        tasks=(call,),
    )


def _captured(state: Payment, message: ChargeAnswered) -> Decision[Payment]:
    after = msgspec.structs.replace(
        state, status="succeeded", settled_at=message.occurred_at, reference=message.reference
    )
    decision: Decision[Payment] = Decision(
        state=after,
        outcome="applied",
        transitions=(_moved(state.status, after.status),),
        messages=(replies.succeeded(after, message, request_id=state.request_id),),
        writes=ledger.capture(after, message),
    )
    if state.refund is None:
        return decision
    refunding = msgspec.structs.replace(after, status="refunding")
    return msgspec.structs.replace(
        decision,
        state=refunding,
        transitions=(*decision.transitions, _moved(after.status, refunding.status, detail=state.refund.reason)),
        tasks=(_refund_call(refunding),),
    )


def _declined(state: Payment, message: ChargeAnswered) -> Decision[Payment]:
    reason = message.failure_reason or replies.DECLINED
    after = msgspec.structs.replace(
        state, status="failed", settled_at=message.occurred_at, reference=message.reference, failure_reason=reason
    )
    answers: tuple[Message, ...] = (replies.declined(after, message, request_id=state.request_id),)
    if state.refund is not None:
        answers += (replies.nothing_refunded(message, request_id=state.refund.request_id),)
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved(state.status, after.status, detail=reason),),
        messages=answers,
    )


def _refund(state: Payment, message: RefundPayment) -> Decision[Payment]:
    after = msgspec.structs.replace(state, status="refunding", refund=_asked(message))
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved(state.status, after.status, attempt=message.attempt, detail=message.reason),),
        tasks=(_refund_call(after),),
    )


def _refund_later(state: Payment, message: RefundPayment) -> Decision[Payment]:
    after = msgspec.structs.replace(state, refund=_asked(message))
    detail = f"the refund waits for the charge's answer: {message.reason}"
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved(state.status, after.status, attempt=message.attempt, detail=detail),),
    )


def _tombstone(message: RefundPayment) -> Decision[Payment]:
    after = Payment(
        order_id=message.order_id,
        status="refused",
        amount=ZERO,
        requested_at=message.occurred_at,
        refund=_asked(message),
    )
    return Decision(
        state=after,
        outcome="applied",
        transitions=(_moved("", after.status, attempt=message.attempt, detail=message.reason),),
        messages=(replies.nothing_refunded(message, request_id=message.request_id),),
    )


def _refund_call(payment: Payment) -> Call:
    return Call(
        task_id=refund_task_of(payment.payment_id),
        provider=PROVIDER,
        operation="refund",
        key=refund_id_of(payment.payment_id),
        arguments={
            "paymentId": payment.payment_id,
            "orderId": payment.order_id,
            "amount": str(payment.captured),
            "reference": payment.reference or "",
        },
    )


def _asked(message: RefundPayment) -> Refund:
    return Refund(request_id=message.request_id, reason=message.reason, requested_at=message.occurred_at)


def _repeat(state: Payment, *answers: Message) -> Decision[Payment]:
    return Decision(state=state, outcome="repeated", messages=answers)


def _moved(before: str, after: str, *, attempt: int = 0, detail: str = "") -> Transition:
    return Transition(before=before, after=after, step=STEP, attempt=attempt, detail=detail)


def _same_amount(state: Payment, named: Decimal) -> None:
    if named != state.amount:
        raise Refused("amount", f"the order's payment is of {state.amount}, not of {named}", conflict=True)
