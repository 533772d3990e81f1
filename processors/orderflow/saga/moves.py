"""What goes into the orchestration and what comes out of it."""

from typing import Literal

import msgspec

from orderflow.contracts.decision import Outcome, Transition
from orderflow.contracts.identity import derive
from orderflow.saga.protocol import StepName
from orderflow.saga.state import Saga
from orderflow.saga.table import Action, Kind


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says to a saga.

    Attributes:
        step: what it is about; for a command to the order, the plan's last step.
        reference: by which the participant names what it did or undid.
        confirmed: whether it answers a request of this order's by its id.
        effective: of a compensation: whether there was something to undo.
        reason: why, in a sentence, where the order goes back because of it; for the audit trail otherwise.
    """

    kind: Kind
    step: StepName
    reference: str | None = None
    confirmed: bool = False
    effective: bool = True
    reason: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a participant for a step, or to undo it; and be told after ``deadline`` seconds if it has not answered.

    ``attempt`` counts from 1; over all compensations of a step it goes on counting, so that a deadline's step and
    attempt name one ask.
    """

    step: StepName
    request_id: str
    attempt: int
    deadline: float
    compensating: bool = False
    reference: str | None = None

    @property
    def event_id(self) -> str:
        """The id of the message that asks."""
        return derive(self.request_id, str(self.attempt))

    @property
    def task_id(self) -> str:
        """The id of the deadline's task."""
        return deadline_task(self.request_id, self.attempt)


def deadline_task(request: str, attempt: int) -> str:
    """Return the id of the task that watches over one ask; the request's id stands for order, step and direction."""
    return derive(request, "deadline", str(attempt))


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a saga does about a signal.

    Attributes:
        action: what the table said.
        ended: ids of deadlines that are met or superseded.
        ending: whether this move brings the order to its end.
    """

    saga: Saga
    action: Action
    outcome: Outcome
    asks: tuple[Ask, ...] = ()
    ended: tuple[str, ...] = ()
    transitions: tuple[Transition, ...] = ()
    ending: Literal["", "completed", "cancelled"] = ""
