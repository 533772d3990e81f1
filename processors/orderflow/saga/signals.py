"""What a message says to a saga: replies and deadlines, told apart by what the saga knows already."""

from decimal import Decimal
from typing import cast

from orderflow.contracts import events
from orderflow.contracts.envelope import Message
from orderflow.contracts.outcomes import StepDeadline
from orderflow.saga.moves import Signal
from orderflow.saga.protocol import FULFILLMENT, PROTOCOLS, STEP_OF, Protocol, StepName
from orderflow.saga.state import Progress, Saga
from orderflow.saga.table import Kind, Phase, Status

NOTHING = Decimal(0)


def signal_of(saga: Saga | None, message: Message) -> Signal | None:
    """Return what ``message`` says, or ``None`` if it is no reply, deadline or reminder that a saga knows."""
    if isinstance(message, StepDeadline):
        return _deadline(saga, message)
    if isinstance(message, events.ReservationExpiring):
        return Signal(kind=Kind.EXPIRING, step="inventory", reference=message.reservation_id)
    step = STEP_OF.get(type(message))
    if step is None:
        return None
    progress = saga.progress(step) if saga else None
    return _reply(PROTOCOLS[step], progress or Progress(step=step), message)


def _reply(protocol: Protocol, progress: Progress, message: Message) -> Signal:
    request: str | None = getattr(message, "request_id", None)
    reference: str | None = getattr(message, protocol.reference, None)
    confirmed = request is not None and request in {progress.request, progress.compensation}
    if isinstance(message, protocol.failure):
        return Signal(kind=Kind.FAILED, step=protocol.step, reason=f"{protocol.step} failed: {_reason_of(message)}")
    if isinstance(message, protocol.compensated):
        other = progress.status is Status.UNDOING and request is not None and request != progress.compensation
        return Signal(
            kind=Kind.COMPENSATED_BEFORE if other else Kind.COMPENSATED,
            step=protocol.step,
            reference=reference,
            effective=_had_an_effect(message),
            reason=f"{protocol.step} was undone without being asked",
        )
    return Signal(
        kind=_success(protocol, progress, reference),
        step=protocol.step,
        reference=reference,
        confirmed=confirmed,
        reason=f"{message.event_type} {reference}",
    )


def _success(protocol: Protocol, progress: Progress, reference: str | None) -> Kind:
    if protocol.step == FULFILLMENT:
        return Kind.SHIPPED
    return Kind.SUCCEEDED_AGAIN if progress.knows(reference) else Kind.SUCCEEDED


def _had_an_effect(message: Message) -> bool:
    """Whether there was something to undo, as far as a compensation's answer tells."""
    match message:
        case events.PaymentRefunded():
            return message.amount > NOTHING
        case events.InventoryReleased():
            return bool(message.items)
        case _:
            return True


def _reason_of(message: Message) -> str:
    match message:
        case events.PaymentFailed() | events.InventoryFailed():
            return message.failure_reason
        case events.OrderShipmentFailed():
            return message.error_message
        case _:
            return message.event_type


def _deadline(saga: Saga | None, message: StepDeadline) -> Signal | None:
    if message.step not in PROTOCOLS:
        return None
    step = cast("StepName", message.step)
    progress = saga.progress(step) if saga else None
    if saga is None or progress is None or not _is_current(saga, progress, message):
        return Signal(kind=Kind.PAST_DEADLINE, step=step)
    if message.compensating:
        return Signal(kind=Kind.COMPENSATION_OVERDUE, step=step)
    planned = saga.plan.step(step)
    if planned is not None and progress.attempt < planned.asks:
        return Signal(kind=Kind.OVERDUE, step=step)
    return Signal(kind=Kind.EXHAUSTED, step=step, reason=f"{step} did not answer, asked {progress.attempt} times")


def _is_current(saga: Saga, progress: Progress, message: StepDeadline) -> bool:
    if message.compensating:
        return progress.status is Status.UNDOING and message.attempt == progress.compensations
    forward = saga.phase is Phase.FORWARD and progress.status is Status.ASKED
    return forward and message.attempt == progress.attempt
