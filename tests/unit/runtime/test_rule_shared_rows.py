"""Rows that many orders share: decided inside the transaction, locked in sorted order, written once per batch."""

import re
from collections.abc import Iterator
from typing import Any

from harness.process import Process, Site, by, column
from harness.tally import POTS, ask, pots
from orderflow.runtime.rows import Versioned
from orderflow.runtime.schema import dead_letters, outbox


def amounts(process: Process) -> dict[str, str]:
    return {row["product_id"]: row["data"] for row in process.rows(pots)}


async def test_what_a_whole_batch_changes_is_written_once(process: Process) -> None:
    await process.take(*(ask(f"o{number}", items={"p": 1, "q": 2}) for number in range(5)))
    await process.take(*(ask(f"o{number}", number=2, items={"p": 1}) for number in range(3)))
    assert amounts(process) == {"p": '{"amount":8}', "q": '{"amount":10}'}
    assert column(process.rows(pots), "version") == [2, 1]


async def test_each_decision_sees_what_the_ones_before_it_in_the_batch_have_changed(process: Process) -> None:
    await process.take(ask("o1", items={"p": 1}), ask("o2", items={"p": 1}), ask("o3", items={"p": 1}))
    assert amounts(process) == {"p": '{"amount":3}'}


async def test_a_change_is_announced_once_per_batch_with_the_row_as_it_was_written(process: Process) -> None:
    await process.take(ask("o1", items={"p": 1}), ask("o2", items={"p": 4, "q": 1}))
    announced = [row for row in process.rows(outbox) if row["event_type"] == "ProductChanged"]
    assert column(announced, "key") == ["p", "q"]
    assert b'"available":5' in announced[0]["payload"]


async def test_they_are_locked_in_the_order_of_their_keys_before_the_first_decision(process: Process) -> None:
    process.faults.parameters.clear()
    process.faults.statements.clear()
    await process.take(ask("o1", items={"c": 1}), ask("o2", items={"a": 1, "d": 1}), ask("o3", items={"b": 1}))
    reads = [
        parameters
        for statement, parameters in zip(process.faults.statements, process.faults.parameters, strict=True)
        if re.search(r"FROM pots", statement)
    ]
    assert [tuple(parameters) for parameters in reads] == [("a", "b", "c", "d")]


async def test_they_are_written_in_the_order_of_their_keys(process: Process) -> None:
    await process.take(ask("o1", items={"c": 1, "a": 1}))
    process.faults.parameters.clear()
    process.faults.statements.clear()
    await process.take(ask("o2", items={"c": 1}), ask("o3", items={"a": 1}))
    written = [
        parameters
        for statement, parameters in zip(process.faults.statements, process.faults.parameters, strict=True)
        if statement.startswith("UPDATE pots")
    ]
    assert [value for value in flat(written) if value in {"a", "c"}] == ["a", "a", "c", "c"]


def flat(parameters: Any) -> Iterator[Any]:
    """All values, whether the rows were written one by one or together."""
    for value in parameters:
        yield from flat(value) if isinstance(value, list | tuple) else (value,)


async def test_they_are_never_taken_from_a_cache(site: Site, process: Process) -> None:
    await process.take(ask("o1", items={"p": 1}))
    with process.engine.begin() as connection:
        row = POTS.load(connection, ["p"], lock=True)["p"]
        POTS.update(connection, {"p": Versioned(row.version + 1, type(row.state)(amount=100))})
    await process.take(ask("o2", items={"p": 1}))
    assert amounts(process) == {"p": '{"amount":101}'}


async def test_message_by_message_they_are_written_per_message(process: Process) -> None:
    await process.take(ask("o1", items={"p": 1}), ask("o2", "violate", items={"p": 10}), ask("o3", items={"p": 2}))
    assert amounts(process) == {"p": '{"amount":3}'}
    assert column(process.rows(pots), "version") == [2]
    assert set(by(process.rows(dead_letters), "event_id")) == {"ask-o2-1"}
