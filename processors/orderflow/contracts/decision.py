"""What a decision may ask for.

``decide(state, message) -> Decision`` is pure; the runtime records the decision in one transaction and then does what
it asks for, at least once. Everything in a decision is data, so that a recorded decision can be compared, byte for
byte, with what today's code decides.
"""

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec

from orderflow.contracts.envelope import Message

S = TypeVar("S")

Outcome = Literal["applied", "repeated", "late", "ignored"]
"""What became of a message: it changed something; it was answered from the state; it came too late to change
anything; it means nothing here."""


class Refused(ValueError):  # noqa: N818 - a refusal is an outcome that callers name, not a fault of theirs
    """The message asks for what cannot be: it becomes a dead letter, or a 4xx where a client waits for the answer.

    Attributes:
        field: the JSON path of the offending field, as in ``items[0].productId``; empty where it is none in particular.
        reason: one sentence for the sender.
        conflict: whether it is the state that stands against it rather than the message itself.
    """

    def __init__(self, field: str, reason: str, *, conflict: bool = False) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason
        self.conflict = conflict


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class Transition(_Part, frozen=True, kw_only=True):
    """One row of the audit trail: the aggregate's status before (empty for none) and after, in canonical words.

    ``attempt`` counts the asks of the step concerned, where there is one.
    """

    before: str
    after: str
    step: str = ""
    attempt: int = 0
    detail: str = ""


class Call(_Part, frozen=True, kw_only=True, tag=True):
    """A call to the outside.

    ``key`` is the idempotency key under which the provider knows it: repeating the call repeats nothing. ``arguments``
    goes to the provider as it is, and comes back to the context's ``answers`` with the provider's answer.
    """

    task_id: str
    provider: str
    operation: str
    key: str
    arguments: dict[str, str]


class Timer(_Part, frozen=True, kw_only=True, tag=True):
    """Deliver ``message`` to the context itself, ``after`` so many seconds from when this was recorded.

    A timer that waits for an answer names what it waits for: it does not fire while the message ``request`` (an event
    id) is unpublished, nor before the context has read what stood in ``replies`` (topics) when the timer came due.
    """

    task_id: str
    after: float
    message: Message
    request: str | None = None
    replies: tuple[str, ...] = ()


class Append(_Part, frozen=True, kw_only=True, tag=True):
    """Insert one row into a table of the context's own that only grows."""

    table: str
    values: dict[str, Any]


class Keep(_Part, frozen=True, kw_only=True, tag=True):
    """Insert a row, or replace it if the one that is there has a smaller ``newest_by``."""

    table: str
    key: dict[str, Any]
    values: dict[str, Any]
    newest_by: str


class Decision(msgspec.Struct, Generic[S], frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of deciding one message.

    Attributes:
        state: the aggregate afterwards; ``None`` where the message concerns none.
        shared: rows that belong to no single aggregate (stock, windows), as changed by this decision, by key.
        ended: ids of tasks that are not needed any more: a deadline that was met, a call that was superseded.
    """

    state: S | None
    outcome: Outcome
    transitions: tuple[Transition, ...] = ()
    messages: tuple[Message, ...] = ()
    tasks: tuple[Call | Timer, ...] = ()
    ended: tuple[str, ...] = ()
    writes: tuple[Append | Keep, ...] = ()
    shared: Mapping[str, Any] = {}
