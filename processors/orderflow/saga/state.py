"""Where an order's saga is: immutable, and changed by :mod:`.orchestration` alone."""

from collections.abc import Iterator

import msgspec

from orderflow.contracts.identity import derive
from orderflow.saga.flow import Plan
from orderflow.saga.protocol import Canonical, StepName
from orderflow.saga.table import Phase, Standing, Status


def request_id(order_id: str, step: str) -> str:
    """Return the id of the order's only request for ``step``; asking again repeats it."""
    return derive(order_id, step, "request")


def compensation_id(order_id: str, step: str, late: str | None = None) -> str:
    """Return the id of the compensation of ``step``, or of what succeeded ``late``: after an earlier compensation."""
    parts = (order_id, step, "compensation")
    return derive(*parts) if late is None else derive(*parts, late)


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one step has come.

    Attributes:
        request: the request's id, once it was asked.
        attempt: how often it was asked.
        reference: by which the participant names what it did (a payment, a reservation, a shipment).
        confirmed: the same, if it was named in a reply to a request of ours: such a name the participant knows again.
        owed: further references that have succeeded, each to be undone should the order go back.
        undone: references of which nothing is left.
        compensation: the request id of the compensation under way, or of the last one.
        undoing: the reference that it is for, if one was known when it was first asked.
        compensations: how often compensations of this step were asked, over all of them.
    """

    step: StepName
    status: Status = Status.WAITING
    request: str = ""
    attempt: int = 0
    reference: str | None = None
    confirmed: str | None = None
    owed: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    compensation: str = ""
    undoing: str | None = None
    compensations: int = 0

    def knows(self, reference: str | None) -> bool:
        """Whether the order has heard of ``reference`` before."""
        return reference is not None and (reference == self.reference or reference in self.owed + self.undone)

    def heard_of(self, reference: str | None, *, confirmed: bool) -> "Progress":
        """Return the step with a success noted, whatever its status."""
        if reference is None or self.knows(reference):
            return self
        known = msgspec.structs.replace(self, confirmed=reference if confirmed else self.confirmed)
        if self.reference is None:
            return msgspec.structs.replace(known, reference=reference)
        return msgspec.structs.replace(known, owed=(*self.owed, reference))

    @property
    def left(self) -> tuple[str, ...]:
        """The references that have succeeded and are not undone."""
        known = self.owed if self.reference is None else (self.reference, *self.owed)
        return tuple(reference for reference in known if reference not in self.undone)

    @property
    def needs_undoing(self) -> bool:
        """Whether there is something to undo, or may be."""
        if self.status in {Status.ASKED, Status.DONE}:
            return True
        return self.status is not Status.UNDOING and bool(self.left)


class Saga(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order's way through its plan.

    Attributes:
        status: in canonical words, for the audit trail.
        word: what is shown outside.
        reason: why the order goes back or has ended without success; else empty.
    """

    order_id: str
    plan: Plan
    phase: Phase
    status: Canonical
    word: str
    steps: tuple[Progress, ...]
    reason: str = ""

    def progress(self, step: str) -> Progress | None:
        """Return how far ``step`` has come, if the plan has it."""
        return next((progress for progress in self.steps if progress.step == step), None)

    def standing(self, step: str) -> Standing:
        """Return the row of the table for a message about ``step``."""
        progress = self.progress(step)
        return Standing(self.phase, progress.status if progress else Status.ABSENT)

    @property
    def last_step(self) -> StepName:
        """The step after which the order is complete: what a command to the order is decided by."""
        return self.steps[-1].step

    @property
    def ended(self) -> bool:
        """Whether the order is at its end; something late may still be being undone."""
        return self.phase in {Phase.COMPLETED, Phase.CANCELLED}

    @property
    def is_live(self) -> bool:
        """Whether the saga still waits for an answer."""
        return not self.ended or any(progress.status is Status.UNDOING for progress in self.steps)

    def having(self, *changed: Progress, **fields: object) -> "Saga":
        """Return the saga with some steps, and other fields, replaced."""
        by_name = {progress.step: progress for progress in changed}
        steps = tuple(by_name.get(progress.step, progress) for progress in self.steps)
        return msgspec.structs.replace(self, steps=steps, **fields)

    def waiting(self) -> Iterator[Progress]:
        """Yield the steps that have not been asked, in order."""
        return (progress for progress in self.steps if progress.status is Status.WAITING)

    def to_undo(self) -> Progress | None:
        """Return the step whose turn it is to be undone: the last of the plan that needs it."""
        return next((progress for progress in reversed(self.steps) if progress.needs_undoing), None)
