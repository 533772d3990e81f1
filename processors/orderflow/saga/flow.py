"""Flows as data: which steps an order goes through, in which order, and what its status is called outside.

An order records the :class:`Plan` it started under, so a flow that is changed or withdrawn never touches an order in
flight. The four built-in flows come from the requirements' documents; more are declared in the resource under
``spec.flows``, and a declared flow with a built-in's name takes its place.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from orderflow.contracts.decision import Refused
from orderflow.saga.protocol import FULFILLMENT, PROTOCOLS, Canonical, StepName

DEADLINES: Mapping[str, float] = {"payment": 10.0, "inventory": 10.0, "fulfillment": 30.0}
"""Seconds until a step is asked again: several times what its participant needs, with a carrier that takes five."""

ASKS: Final = 5
"""How often a step is asked before the order gives it up. With doubling deadlines that is 4.5 minutes for a payment and
7.5 for a shipment: longer than a participant's restart, shorter than a customer's patience."""

MOST_ASKS: Final = 20
MOST_SECONDS: Final = 86_400.0
"""A day: an order whose step may stay silent for longer would not come to its end in any time that matters."""
LONGEST_DEADLINE: Final = 120.0
"""Seconds. Deadlines double with each ask up to here."""
LONGEST_BACKOFF: Final = 60.0
"""Seconds. Compensations are asked for without limit, at least this often once a participant is back."""
HOLD_SECONDS: Final = 900.0
"""How long a confirmed reservation is kept before the order is asked about it again."""

LONGEST_NAME: Final = 64
"""Characters of a flow's name and of a status word: what the contracts and the columns hold."""


class InvalidFlow(ValueError):  # noqa: N818 - says what the flow is
    """A declared flow cannot be.

    Attributes:
        field: where, as a path from the resource's ``spec``: ``flows[0].steps[1].name``.
        reason: one sentence.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Words(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an order's status is called outside. Without a word of its own a status leaves the last one showing."""

    created: str = "Pending"
    paid: str | None = "Paid"
    reserved: str | None = "Reserved"
    shipped: str | None = "Shipped"
    completed: str = "Completed"
    compensating: str | None = "Compensating"
    cancelled: str = "Cancelled"

    def word_for(self, status: Canonical) -> str | None:
        """Return the word for a canonical status; both unhappy ends have the same."""
        word: str | None = getattr(self, _FIELD_OF[status])
        return word


_FIELD_OF: Mapping[Canonical, str] = {
    "PENDING": "created",
    "PAID": "paid",
    "RESERVED": "reserved",
    "SHIPPED": "shipped",
    "COMPLETED": "completed",
    "COMPENSATING": "compensating",
    "CANCELLED": "cancelled",
    "FAILED": "cancelled",
}


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A step as a flow names it. ``deadline_seconds`` is that of the first ask; ``asks`` bounds how many there are."""

    name: str
    deadline_seconds: float | None = None
    asks: int = ASKS


class Flow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A flow as it is declared. Without ``words`` it has those of the built-in flow of its name, else the default's."""

    name: str
    steps: tuple[Step, ...]
    words: Words | None = None


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step with everything decided."""

    name: StepName
    deadline_seconds: float
    asks: int

    def deadline(self, attempt: int) -> float:
        """Return how many seconds ask ``attempt`` (from 1) may stay unanswered."""
        return _doubled(self.deadline_seconds, attempt, max(LONGEST_DEADLINE, self.deadline_seconds))

    def backoff(self, attempt: int) -> float:
        """Return how many seconds after its ask ``attempt`` (from 1) a compensation is asked for again."""
        return _doubled(self.deadline_seconds, attempt, LONGEST_BACKOFF)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an order pins when it is accepted: the whole flow, so that nothing outside can change it later.

    Defaults are written out, too: a later revision may have others.
    """

    name: str
    steps: tuple[PlannedStep, ...]
    words: Words
    hold_seconds: float = HOLD_SECONDS

    def step(self, name: str) -> PlannedStep | None:
        """Return the step of that name, if the plan has it."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def ships(self) -> bool:
        """Whether the last step sends goods, which nothing brings back."""
        return self.steps[-1].name == FULFILLMENT

    @property
    def only_ships(self) -> bool:
        """Whether there is nothing but the shipment, which somebody outside may then report on (``ship-only``)."""
        return self.ships and len(self.steps) == 1


def _doubled(first: float, attempt: int, most: float) -> float:
    # Sixteen doublings of any deadline above a millisecond are past every limit; more would overflow one day.
    return min(first * 2.0 ** min(attempt - 1, 16), most)


ORDER_TO_DELIVERY: Final = "order-to-delivery"

BUILT_IN: tuple[Flow, ...] = (
    Flow(
        name=ORDER_TO_DELIVERY,
        steps=(Step(name="payment"), Step(name="inventory"), Step(name="fulfillment")),
        words=Words(),
    ),
    Flow(
        name="payment-first",
        steps=(Step(name="payment"), Step(name="inventory")),
        words=Words(reserved=None, shipped=None, compensating=None),
    ),
    Flow(
        name="reserve-first",
        steps=(Step(name="inventory"), Step(name="payment")),
        words=Words(
            created="CREATED",
            paid=None,
            reserved="RESERVED",
            shipped=None,
            completed="FULFILLED",
            compensating=None,
            cancelled="CANCELLED",
        ),
    ),
    Flow(
        name="ship-only",
        steps=(Step(name="fulfillment"),),
        words=Words(
            created="Created",
            paid=None,
            reserved=None,
            completed="Shipped",
            compensating="Processing",
            cancelled="Failed",
        ),
    ),
)
"""The flows of the requirements' documents, with their status words to the letter."""


class FlowBook:
    """The flows that orders may take, and who takes which.

    Args:
        flows: declared ones, beside or instead of the built-in.
        default: the flow of an order for which nobody says otherwise.
        tenants: the flow of each tenant that has one of its own.

    Raises:
        InvalidFlow: a declared flow cannot be, or a flow is named that there is not.
    """

    def __init__(
        self,
        flows: Sequence[Flow] = (),
        default: str = ORDER_TO_DELIVERY,
        tenants: Mapping[str, str] | None = None,
    ) -> None:
        plans = {flow.name: _planned(flow, "") for flow in BUILT_IN}
        for index, flow in enumerate(flows):
            at = f"flows[{index}]"
            if any(flow.name == earlier.name for earlier in flows[:index]):
                raise InvalidFlow(f"{at}.name", f"there is another flow {flow.name!r}")
            plans[flow.name] = _planned(flow, at)
        self.plans: Mapping[str, Plan] = plans
        self.default = default
        self.tenants = dict(tenants or {})
        for field, name in ("defaultFlow", default), *((f"tenants.{who}", name) for who, name in self.tenants.items()):
            if name not in plans:
                raise InvalidFlow(field, self._unknown(name))

    def choose(self, requested: str | None, tenant: str) -> Plan:
        """Return the plan of an order: the flow it names, else its tenant's, else the default.

        Raises:
            Refused: it names a flow that there is not.
        """
        plan = self.plans.get(requested or self.tenants.get(tenant, self.default))
        if plan is None:
            raise Refused("flow", self._unknown(requested or ""))
        return plan

    def _unknown(self, name: str) -> str:
        return f"there is no flow {name!r}; there are {', '.join(sorted(self.plans))}"


def _planned(flow: Flow, at: str) -> Plan:
    if not 1 <= len(flow.name) <= LONGEST_NAME:
        raise InvalidFlow(f"{at}.name", f"a flow's name has 1 to {LONGEST_NAME} characters")
    if not flow.steps:
        raise InvalidFlow(f"{at}.steps", "a flow has at least one step")
    words = flow.words or next((known.words for known in BUILT_IN if known.name == flow.name), None) or Words()
    _check_words(words, f"{at}.words")
    steps = tuple(_planned_step(flow, index, f"{at}.steps[{index}]") for index in range(len(flow.steps)))
    return Plan(name=flow.name, steps=steps, words=words)


def _planned_step(flow: Flow, index: int, at: str) -> PlannedStep:
    step = flow.steps[index]
    protocol = PROTOCOLS.get(step.name)
    if protocol is None:
        raise InvalidFlow(f"{at}.name", f"there is no step {step.name!r}; there are {', '.join(PROTOCOLS)}")
    if any(step.name == earlier.name for earlier in flow.steps[:index]):
        raise InvalidFlow(f"{at}.name", f"the flow has {step.name} already")
    if step.name == FULFILLMENT and index + 1 < len(flow.steps):
        raise InvalidFlow(f"{at}.name", "fulfillment comes last: goods that left cannot wait for anything")
    if not 1 <= step.asks <= MOST_ASKS:
        raise InvalidFlow(f"{at}.asks", f"a step is asked 1 to {MOST_ASKS} times, got {step.asks}")
    seconds = DEADLINES[step.name] if step.deadline_seconds is None else step.deadline_seconds
    if not 0 < seconds <= MOST_SECONDS:
        reason = f"a deadline is a positive number of seconds, at most {MOST_SECONDS:g}, got {seconds}"
        raise InvalidFlow(f"{at}.deadlineSeconds", reason)
    return PlannedStep(name=protocol.step, deadline_seconds=seconds, asks=step.asks)


def _check_words(words: Words, at: str) -> None:
    for field in words.__struct_fields__:
        word = getattr(words, field)
        if word is not None and not 1 <= len(word) <= LONGEST_NAME:
            raise InvalidFlow(f"{at}.{field}", f"a status word has 1 to {LONGEST_NAME} characters")
    ends = {"created": words.created, "completed": words.completed, "cancelled": words.cancelled}
    if len({word.casefold() for word in ends.values()}) < len(ends):
        raise InvalidFlow(at, "created, completed and cancelled need three different words")
