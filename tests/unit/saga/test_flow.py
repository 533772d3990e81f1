"""Flows as data: the four of the requirements, and declared ones."""

import msgspec
import pytest

from orderflow.contracts.decision import Refused
from orderflow.saga.flow import DEADLINES, Flow, FlowBook, InvalidFlow, Plan, Step, Words

DEFAULT = "order-to-delivery"


def shown(plan: Plan) -> list[str]:
    """Return the words an order shows on its way to its good end, then the compensating one and the bad end."""
    statuses = {"payment": "PAID", "inventory": "RESERVED", "fulfillment": "SHIPPED"}
    way = ["PENDING", *(statuses[step.name] for step in plan.steps), "COMPLETED", "COMPENSATING", "CANCELLED"]
    return [word for status in way if (word := plan.words.word_for(status)) is not None]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flow", "steps", "words"),
    [
        (
            DEFAULT,
            ["payment", "inventory", "fulfillment"],
            ["Pending", "Paid", "Reserved", "Shipped", "Completed", "Compensating", "Cancelled"],
        ),
        ("payment-first", ["payment", "inventory"], ["Pending", "Paid", "Completed", "Cancelled"]),
        ("reserve-first", ["inventory", "payment"], ["CREATED", "RESERVED", "FULFILLED", "CANCELLED"]),
        ("ship-only", ["fulfillment"], ["Created", "Shipped", "Shipped", "Processing", "Failed"]),
    ],
)
def test_the_built_in_flows_are_those_of_the_requirements(flow: str, steps: list[str], words: list[str]) -> None:
    plan = FlowBook().choose(flow, "default")
    assert [step.name for step in plan.steps] == steps
    assert shown(plan) == words


def test_an_order_takes_the_flow_it_names_else_its_tenants_else_the_default() -> None:
    book = FlowBook(default="payment-first", tenants={"acme": "ship-only"})
    assert book.choose("reserve-first", "acme").name == "reserve-first"
    assert book.choose(None, "acme").name == "ship-only"
    assert book.choose(None, "other").name == "payment-first"


def test_a_flow_that_there_is_not_is_refused_by_its_field() -> None:
    with pytest.raises(Refused, match="there is no flow 'overnight'; there are order-to-delivery, ") as refused:
        FlowBook().choose("overnight", "default")
    assert refused.value.field == "flow"
    assert not refused.value.conflict


def test_a_flow_is_declared_as_it_stands_in_the_resource() -> None:
    yaml = b"""{"name": "express", "words": {"created": "New", "paid": null},
        "steps": [{"name": "payment", "deadlineSeconds": 2.5, "asks": 3}, {"name": "fulfillment"}]}"""
    plan = FlowBook((msgspec.json.decode(yaml, type=Flow),)).choose("express", "default")
    assert [(step.name, step.deadline_seconds, step.asks) for step in plan.steps] == [
        ("payment", 2.5, 3),
        ("fulfillment", DEADLINES["fulfillment"], 5),
    ]
    assert shown(plan) == ["New", "Shipped", "Completed", "Compensating", "Cancelled"]


def test_a_declared_flow_may_take_a_built_in_ones_place_and_keeps_its_words() -> None:
    steps = (Step(name="inventory", deadline_seconds=1), Step(name="payment", deadline_seconds=1))
    plan = FlowBook((Flow(name="reserve-first", steps=steps),)).choose("reserve-first", "default")
    assert plan.steps[0].deadline_seconds == 1
    assert plan.words.completed == "FULFILLED"


def declared(*names: str, **fields: object) -> Flow:
    return Flow(name="mine", steps=tuple(Step(name=name) for name in names), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flows", "field", "reason"),
    [
        ((declared(),), "flows[0].steps", "at least one step"),
        ((declared("payment", "gift-wrap"),), "flows[0].steps[1].name", "no step 'gift-wrap'; there are payment, "),
        ((declared("payment", "payment"),), "flows[0].steps[1].name", "has payment already"),
        ((declared("fulfillment", "payment"),), "flows[0].steps[0].name", "fulfillment comes last"),
        ((declared("payment"), declared("inventory")), "flows[1].name", "another flow 'mine'"),
        ((Flow(name="", steps=(Step(name="payment"),)),), "flows[0].name", "1 to 64 characters"),
        ((declared("payment", words=Words(paid="")),), "flows[0].words.paid", "1 to 64 characters"),
        ((declared("payment", words=Words(completed="PENDING")),), "flows[0].words", "three different words"),
        *(
            (
                (Flow(name="mine", steps=(Step(name="payment", deadline_seconds=seconds),)),),
                "flows[0].steps[0].deadlineSeconds",
                "positive number of seconds",
            )
            for seconds in (0.0, -1.0, float("nan"), float("inf"), 1e6)
        ),
        *(
            (
                (Flow(name="mine", steps=(Step(name="payment", asks=asks),)),),
                "flows[0].steps[0].asks",
                "asked 1 to 20 times",
            )
            for asks in (0, 21)
        ),
    ],
)
def test_a_flow_that_cannot_be_is_refused_where_it_is_wrong(flows: tuple[Flow, ...], field: str, reason: str) -> None:
    with pytest.raises(InvalidFlow, match=reason) as invalid:
        FlowBook(flows)
    assert invalid.value.field == field


def test_a_default_or_a_tenants_flow_must_be_there() -> None:
    with pytest.raises(InvalidFlow, match="no flow 'gone'") as invalid:
        FlowBook(default="gone")
    assert invalid.value.field == "defaultFlow"
    with pytest.raises(InvalidFlow) as invalid:
        FlowBook(tenants={"acme": "gone"})
    assert invalid.value.field == "tenants.acme"


def test_deadlines_double_up_to_two_minutes_and_compensations_to_one() -> None:
    payment = FlowBook().choose(None, "default").steps[0]
    assert [payment.deadline(attempt) for attempt in range(1, 7)] == [10, 20, 40, 80, 120, 120]
    assert [payment.backoff(attempt) for attempt in (1, 2, 3, 4, 100_000)] == [10, 20, 40, 60, 60]


def test_a_deadline_longer_than_two_minutes_is_kept() -> None:
    slow = FlowBook((Flow(name="slow", steps=(Step(name="payment", deadline_seconds=300),)),))
    assert slow.choose("slow", "default").steps[0].deadline(3) == 300


def test_a_pinned_plan_is_whole_so_that_no_later_default_changes_it() -> None:
    for plan in FlowBook().plans.values():
        pinned = msgspec.json.encode(plan)
        assert msgspec.json.decode(pinned, type=Plan) == plan
        fields = msgspec.json.decode(pinned)
        assert set(fields) == set(Plan.__struct_fields__)
        assert set(fields["words"]) == set(Words.__struct_fields__)
        assert set(fields["steps"][0]) == {"name", "deadline_seconds", "asks"}
