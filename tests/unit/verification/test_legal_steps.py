"""The legal steps of an order's trail, against the saga itself: all that it can do, and no more than makes sense."""

from random import Random

import pytest

from orderflow.saga.flow import FlowBook, Plan
from orderflow.saga.moves import Move, Signal
from orderflow.saga.orchestration import begin, react
from orderflow.saga.protocol import FULFILLMENT, StepName
from orderflow.saga.table import Kind
from orderflow.verification.trails import steps_of

PLANS = FlowBook().plans
REPORTS = (Kind.REPORT_PROCESSING, Kind.REPORT_SHIPPED, Kind.REPORT_FAILED)
OF_A_STEP = (
    *(Kind.FAILED, Kind.COMPENSATED, Kind.COMPENSATED_BEFORE),
    *(Kind.OVERDUE, Kind.EXHAUSTED, Kind.COMPENSATION_OVERDUE, Kind.PAST_DEADLINE),
)


def signals(plan: Plan) -> list[Signal]:
    """Everything that can be said to an order under ``plan``."""
    said: list[tuple[Kind, StepName]] = [(kind, step.name) for kind in OF_A_STEP for step in plan.steps]
    said += [(_success(step.name), step.name) for step in plan.steps]
    last = plan.steps[-1].name
    if plan.only_ships:
        said += [(kind, last) for kind in REPORTS]
    else:
        said.append((Kind.CANCEL_BEFORE_SHIPPING if plan.ships else Kind.CANCEL, last))
    return [Signal(kind=kind, step=step, reference=reference) for kind, step in said for reference in ("r1", "r2")]


def _success(step: StepName) -> Kind:
    return Kind.SHIPPED if step == FULFILLMENT else Kind.SUCCEEDED


def walk(plan: Plan, random: Random) -> set[tuple[str, str]]:
    """Lead an order through anything at all, and return the steps that its trail shows."""
    move: Move = begin("order", plan)
    shown = {(transition.before, transition.after) for transition in move.transitions}
    for signal in random.choices(signals(plan), k=25):
        move = react(move.saga, signal)
        shown |= {(transition.before, transition.after) for transition in move.transitions}
    return shown


@pytest.mark.parametrize("flow", PLANS)
def test_whatever_happens_to_an_order_its_trail_is_legal(flow: str) -> None:
    random = Random(1)
    plan = PLANS[flow]
    shown = set().union(*(walk(plan, random) for _ in range(200)))
    assert shown - steps_of(plan) == set()


@pytest.mark.parametrize("flow", PLANS)
@pytest.mark.parametrize(
    "step",
    [
        ("", "COMPLETED"),
        ("PENDING", "COMPLETED"),
        ("COMPLETED", "COMPENSATING"),
        ("COMPLETED", "CANCELLED"),
        ("CANCELLED", "COMPLETED"),
        ("CANCELLED", "PENDING"),
        ("COMPENSATING", "COMPLETED"),
        ("COMPENSATING", "PENDING"),
    ],
)
def test_what_no_order_does_is_not_legal(flow: str, step: tuple[str, str]) -> None:
    assert step not in steps_of(PLANS[flow])


def test_an_order_goes_through_its_own_plan_alone() -> None:
    assert ("PENDING", "RESERVED") in steps_of(PLANS["reserve-first"])
    assert ("PENDING", "RESERVED") not in steps_of(PLANS["payment-first"])
    assert ("PENDING", "FAILED") in steps_of(PLANS["ship-only"])
    assert ("PENDING", "CANCELLED") not in steps_of(PLANS["ship-only"])
