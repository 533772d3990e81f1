"""Outcomes of tasks, which a context addresses to its own command topic.

A call to the outside ends in the message that carries its definitive answer; a timer that has come due is one too.
"""

from typing import ClassVar, Literal

from orderflow.contracts.envelope import Message
from orderflow.contracts.fields import Amount, Count, Id, Label, Moment, Name, Quantity, Text
from orderflow.contracts.items import ChannelName


class ChargeAnswered(Message, frozen=True, kw_only=True, tag=True):
    """The card provider's final word on a charge."""

    TIME: ClassVar[str] = "answered_at"
    task_id: Id
    payment_id: Id
    status: Literal["succeeded", "declined"]
    amount: Amount
    answered_at: Moment
    reference: Label | None = None
    failure_reason: Text | None = None


class RefundAnswered(Message, frozen=True, kw_only=True, tag=True):
    """The card provider's final word on a refund: it was made."""

    TIME: ClassVar[str] = "answered_at"
    task_id: Id
    payment_id: Id
    status: Literal["succeeded"]
    amount: Amount
    answered_at: Moment
    reference: Label | None = None


class CarrierAnswered(Message, frozen=True, kw_only=True, tag=True):
    """The carrier's final word, on a booking (shipped or rejected) or on a cancellation (cancelled or shipped)."""

    TIME: ClassVar[str] = "answered_at"
    task_id: Id
    shipment_id: Id
    operation: Literal["book", "cancel"]
    status: Literal["shipped", "rejected", "cancelled"]
    answered_at: Moment
    carrier: Label | None = None
    tracking_number: Label | None = None
    error_message: Text | None = None


class DeliveryAnswered(Message, frozen=True, kw_only=True, tag=True):
    """A channel provider's final word on one notification."""

    TIME: ClassVar[str] = "answered_at"
    task_id: Id
    notification_id: Id
    channel: ChannelName
    status: Literal["delivered", "rejected"]
    answered_at: Moment
    reference: Label | None = None
    error_message: Text | None = None


class StepDeadline(Message, frozen=True, kw_only=True, tag=True):
    """A step's request (or its compensation) has gone unanswered for as long as its attempt allows."""

    TIME: ClassVar[str] = "due_at"
    step: Name
    attempt: Count
    due_at: Moment
    compensating: bool = False


class ReservationDue(Message, frozen=True, kw_only=True, tag=True):
    """A reservation's time has come; ``review`` counts how often it has."""

    TIME: ClassVar[str] = "due_at"
    reservation_id: Id
    review: Count
    due_at: Moment


class WindowDue(Message, frozen=True, kw_only=True, tag=True):
    """A window of analytics has closed and can be reported."""

    TIME: ClassVar[str] = "due_at"
    KEY: ClassVar[str] = "window_start"
    window_start: Id
    window_seconds: Quantity
    due_at: Moment
