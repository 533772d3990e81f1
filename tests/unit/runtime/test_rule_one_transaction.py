"""record is one SQL transaction: all or nothing."""

from sqlalchemy import Table

from harness.process import Process, Site, column
from harness.tally import ask, due, latest, marks, other, tallies, undo
from orderflow.runtime import schema

RICH = (
    ask("o1", "call timer", items={"p": 1, "q": 2}),
    ask("o2", items={"p": 1}),
    ask("o1", number=2),
    ask("o3", "refuse"),
    ask("o3", number=2),
    ask("o4", "break"),
    undo("o4"),
    due("o2"),
)
"""Messages whose decisions ask for everything there is."""


def written(process: Process) -> dict[str, int]:
    return {name: len(rows) for name, rows in process.everything().items() if rows}


async def test_it_holds_all_that_the_decisions_asked_for(process: Process) -> None:
    await process.take(*RICH)
    assert written(process) == {
        "allowed_revisions": 1,
        "audit_trail": 3,
        "consumed_offsets": 2,
        "dead_letters": 2,
        "decisions": 5,
        "latest": 2,
        "marks": 3,
        "outbox": 3 + 2 + 2,
        "pots": 2,
        "processed_events": 8,
        "tallies": 3,
        "tasks": 2,
    }


async def test_a_batch_is_one_transaction(process: Process) -> None:
    process.faults.statements.clear()
    await process.take(*RICH)
    assert process.faults.statements.count("BEGIN") == 1


async def test_a_failure_at_any_statement_leaves_nothing(process: Process) -> None:
    for message in RICH:
        process.site.broker.put(message)
    before = process.everything()
    await _fetched_until_recorded(process, before)
    assert written(process)["processed_events"] == len(RICH)


async def _fetched_until_recorded(process: Process, before: object) -> None:
    for statements in range(200):
        process.faults.after(statements)
        records = process.site.broker.records(("inventory-commands", 0), 0)
        trouble = await process.processor._handle(records)
        process.faults.mend()
        if trouble is None:
            assert statements > 20
            return
        assert process.everything() == before, f"after {statements} statements"
    raise AssertionError("it never went through")


async def test_a_commit_that_fails_leaves_nothing(process: Process) -> None:
    before = process.everything()
    for message in RICH:
        process.site.broker.put(message)
    records = process.site.broker.records(("inventory-commands", 0), 0)
    process.faults.on_commit = "before"
    assert await process.processor._handle(records) is not None
    assert process.everything() == before


async def test_nothing_is_done_before_the_commit(process: Process) -> None:
    process.site.broker.put(ask("o1", "call"))
    process.faults.on_commit = "before"
    records = process.site.broker.records(("inventory-commands", 0), 0)
    await process.processor._handle(records)
    assert not process.outgoing.in_hand
    assert not process.table.data
    assert not process.site.provider.asked


async def test_decisions_are_made_in_the_partitions_order(process: Process) -> None:
    await process.take(*(ask("o1", number=number) for number in range(1, 9)))
    assert process.seen("o1") == tuple(f"ask-o1-{number}" for number in range(1, 9))
    assert column(process.rows(marks), "mark") == list(process.seen("o1"))


async def test_messages_go_out_in_the_order_in_which_they_were_decided(process: Process) -> None:
    await process.take(*(ask("o1", number=number) for number in range(1, 5)), ask("o2"))
    await process.publish()
    assert [row.key for row in process.site.broker.published] == ["o1", "o1", "o1", "o1", "o2"]
    assert process.site.broker.ids() == column(process.rows(schema.outbox), "event_id")


async def test_a_message_that_means_nothing_here_passes_by_and_the_ledger_goes_on(site: Site, process: Process) -> None:
    await process.take(other("o1"))
    assert written(process) == {"allowed_revisions": 1, "consumed_offsets": 2}
    ledger = {row["topic"]: row["offset"] for row in process.rows(schema.consumed_offsets)}
    assert ledger == {"inventory-commands": 0, "order-events": -1}


async def test_a_kept_row_is_replaced_by_a_newer_one_only(process: Process) -> None:
    await process.take(ask("o1"), ask("o1", number=2))
    assert process.rows(latest) == [{"key": "o1", "version": 2}]
    with process.engine.begin() as connection:
        connection.execute(latest.update().values(version=9))
    await process.take(ask("o1", number=3))
    assert process.rows(latest) == [{"key": "o1", "version": 9}]


async def test_every_decision_of_a_young_database_is_kept_whole(process: Process) -> None:
    await process.take(ask("o1"), ask("o1", number=2))
    first, second = process.rows(schema.decisions)
    assert first["state"] is None
    assert second["state"] == b'{"count":1,"seen":["ask-o1-1"],"over":false,"undone":false}'
    assert second["revision"] == "r1"


def _rows(process: Process, table: Table) -> int:
    return len(process.rows(table))


async def test_a_decision_that_fails_leaves_nothing_of_itself_in_the_batch(process: Process) -> None:
    await process.take(ask("o1"), ask("o1", "break", number=2), ask("o2"))
    assert process.seen("o1") == ("ask-o1-1",)
    assert _rows(process, marks) == _rows(process, tallies) == 2
