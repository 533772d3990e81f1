"""The saga's table is total, explained, and printed in the documentation as it is."""

from itertools import product
from pathlib import Path

import msgspec
import pytest

from orderflow.contracts.topics import TOPIC_OF
from orderflow.saga.flow import FlowBook
from orderflow.saga.moves import Signal
from orderflow.saga.orchestration import react
from orderflow.saga.protocol import PROTOCOLS, StepName
from orderflow.saga.rendering import markdown
from orderflow.saga.state import Progress, Saga
from orderflow.saga.table import ACTIONS, KINDS, NOBODY, STANDINGS, TABLE, Action, Kind, Phase, Standing, Status

PAGE = Path(__file__).parents[3] / "docs" / "saga-table.md"
ALL = list(product(STANDINGS, Kind))
STEPS: tuple[StepName, ...] = ("payment", "inventory", "fulfillment")


@pytest.mark.parametrize("standing", STANDINGS, ids=str)
def test_every_kind_of_message_has_an_action_in_every_standing(standing: Standing) -> None:
    assert {kind for kind in Kind if TABLE[standing, kind] in Action} == set(Kind)


def test_the_table_has_no_other_rows() -> None:
    assert set(TABLE) == set(ALL)
    assert len(STANDINGS) == 1 + 4 * len(Status)


def test_every_action_is_used_and_explained_and_every_kind_is() -> None:
    assert set(TABLE.values()) == set(Action) == set(ACTIONS)
    assert set(KINDS) == set(Kind)


def saga_in(standing: Standing, step: StepName) -> Saga:
    """Return a saga in which ``step`` stands so; absent is a step that its plan has not."""
    flow = {"payment": "ship-only", "inventory": "ship-only", "fulfillment": "payment-first"}
    plan = FlowBook().choose(flow[step] if standing.status is Status.ABSENT else None, "default")
    steps = tuple(
        Progress(
            step=planned.name,
            status=standing.status if planned.name == step else Status.DONE,
            attempt=1,
            reference="known",
            compensation="undo" if standing.status in {Status.UNDOING, Status.UNDONE} else "",
        )
        for planned in plan.steps
    )
    return Saga(order_id="order-1", plan=plan, phase=standing.phase, status="PENDING", word="Pending", steps=steps)


@pytest.mark.parametrize("standing", [standing for standing in STANDINGS if standing != NOBODY], ids=str)
def test_the_orchestration_carries_every_action_out(standing: Standing) -> None:
    for kind, step in product(Kind, STEPS):
        before = saga_in(standing, step)
        move = react(before, Signal(kind=kind, step=step, reference="new", reason="because"))

        assert move.action is TABLE[standing, kind]
        assert msgspec.json.decode(msgspec.json.encode(move.saga), type=Saga) == move.saga
        assert all(transition.before for transition in move.transitions)
        if move.outcome in {"ignored", "late", "repeated"}:
            assert move.saga == before
            assert move.asks == ()


def test_what_is_impossible_or_refused_changes_nothing() -> None:
    for (standing, kind), action in TABLE.items():
        if standing != NOBODY and action in {Action.IMPOSSIBLE, Action.REFUSE, Action.IGNORE}:
            before = saga_in(standing, "payment")
            move = react(before, Signal(kind=kind, step="payment"))
            assert (move.saga, move.outcome, move.asks, move.transitions) == (before, "ignored", (), ())


def test_an_order_that_has_ended_stays_ended() -> None:
    for standing, kind in ALL:
        if standing.phase in {Phase.COMPLETED, Phase.CANCELLED}:
            move = react(saga_in(standing, "payment"), Signal(kind=kind, step="payment", reference="new"))
            assert move.saga.phase is standing.phase
            assert move.ending == ""


def test_each_step_has_its_five_messages_on_its_own_topics() -> None:
    for protocol in PROTOCOLS.values():
        commands = {TOPIC_OF[protocol.request], TOPIC_OF[protocol.compensation]}
        replies = {TOPIC_OF[kind] for kind in (protocol.success, protocol.failure, protocol.compensated)}
        assert commands == {f"{protocol.step}-commands"}
        assert replies == {protocol.replies} == {f"{protocol.step}-events"}
        assert protocol.reference in protocol.success.__struct_fields__


def test_the_page_in_the_documentation_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "python -m orderflow.saga.rendering > docs/saga-table.md"
