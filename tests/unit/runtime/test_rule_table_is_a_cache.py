"""The table is a cache of what is in flight; SQL is the truth, and each row has a version."""

from dataclasses import replace
from unittest.mock import MagicMock

import msgspec
import pytest
from sqlalchemy import create_engine

from harness.process import Api, Process, Site, column
from harness.tally import POTS, TALLIES, TALLY, Tally, ask, tallies
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime.aggregates import from_cache
from orderflow.runtime.schema import dead_letters, processed_events

TOPIC = "inventory-commands"


def cached(process: Process, order: str) -> Tally:
    return msgspec.json.decode(from_cache(process.table.data[order])[1], type=Tally)


async def test_an_aggregate_is_in_the_table_while_it_lives(process: Process) -> None:
    await process.take(ask("o1"))
    assert cached(process, "o1") == process.tally("o1") == Tally(1, ("ask-o1-1",))


async def test_an_aggregate_goes_from_the_table_when_it_is_terminal(process: Process) -> None:
    await process.take(ask("o1"), ask("o2"))
    await process.take(ask("o1", "end", number=2))
    assert set(process.table.data) == {"o2"}


async def test_a_terminal_aggregate_that_is_met_again_does_not_come_back_into_the_table(process: Process) -> None:
    await process.take(ask("o1", "end"))
    await process.take(ask("o1", "look", number=2))
    assert not process.table.data


async def test_a_cached_state_spares_reading_the_row(process: Process) -> None:
    await process.take(ask("o1"))
    process.faults.statements.clear()
    await process.take(ask("o1", number=2))
    assert not [statement for statement in process.faults.statements if "tallies.data" in statement]
    assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")


async def test_a_stale_entry_is_noticed_by_its_version_and_read_again(process: Process) -> None:
    await process.take(ask("o1"))
    Api(process).apply(ask("o1", number=2))
    assert cached(process, "o1").count == 1
    await process.take(ask("o1", number=3))
    assert process.seen("o1") == ("ask-o1-1", "ask-o1-2", "ask-o1-3")
    assert cached(process, "o1") == process.tally("o1")


async def test_a_decision_that_changes_nothing_is_made_on_the_current_version_too(site: Site) -> None:
    def decide(tally: Tally | None, pots: object, message: Message) -> Decision[Tally]:
        assert tally is not None
        return Decision(state=tally, outcome="late" if tally.over else "ignored")

    first = await site.joined()
    await first.take(ask("o1"))
    process = await site.joined("inventory-0/b", context=replace(TALLY, decide=decide))
    process.table.data.update(first.table.data)
    Api(first).apply(ask("o1", "end", number=2))
    await process.take(ask("o1", "look", number=3))
    assert process.rows(processed_events)[-1]["status"] == "late"


@pytest.mark.parametrize("known", [True, False], ids=["cached", "not cached"])
async def test_every_decision_reads_the_version_of_its_aggregate_in_its_own_transaction(
    process: Process, known: bool
) -> None:
    await process.take(ask("o1"))
    if not known:
        process.table.data.clear()
    process.faults.statements.clear()
    await process.take(ask("o1", "look", number=2))
    statements = process.faults.statements
    reading = [number for number, text in enumerate(statements) if "tallies.version" in text]
    assert len(reading) == 1
    assert statements.index("BEGIN") < reading[0]


@pytest.mark.parametrize("rows", [TALLIES, POTS], ids=["aggregates", "shared rows"])
@pytest.mark.parametrize("method", ["versions", "load"])
def test_rows_are_locked_until_the_commit_in_the_order_of_their_keys(rows: object, method: str) -> None:
    connection = MagicMock(dialect=create_engine("postgresql+psycopg://").dialect)
    cursor = connection.connection.cursor()
    cursor.fetchall.return_value = []
    getattr(rows, method)(connection, ["b", "c", "a"], lock=True)
    ((text, parameters),) = (call.args for call in cursor.execute.call_args_list)
    assert text.endswith("FOR UPDATE")
    assert "ORDER BY" in text
    assert list(parameters.values()) == ["a", "b", "c", "c"]


async def test_the_locks_are_asked_for_by_every_decision(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    for name in ("versions", "load"):
        original = getattr(type(TALLIES), name)

        def spying(
            self: object, connection: object, keys: object, *, lock: bool, original: object = original
        ) -> object:
            asked.append(lock)
            return original(self, connection, keys, lock=lock)  # type: ignore[operator]

        monkeypatch.setattr(type(TALLIES), name, spying)
    process = await site.joined()
    await process.take(ask("o1", items={"p": 1}))
    await process.take(ask("o1", "look", number=2))
    assert asked
    assert all(asked)


async def test_what_came_by_a_partition_is_forgotten_when_it_leaves(process: Process, site: Site) -> None:
    await process.join((TOPIC, 0), (TOPIC, 1))
    site.broker.put(ask("o1"))
    site.broker.put(ask("o2"), partition=1)
    await process.fetch()
    assert set(process.table.data) == {"o1", "o2"}
    await process.processor.revoked([(TOPIC, 1)])
    assert set(process.table.data) == {"o1"}


async def test_a_key_that_is_not_in_the_table_is_read_from_sql(site: Site, process: Process) -> None:
    await process.take(ask("o1"))
    successor = await site.joined("inventory-1/b")
    assert not successor.table.data
    await successor.take(ask("o1", number=2))
    assert successor.seen("o1") == ("ask-o1-1", "ask-o1-2")
    assert cached(successor, "o1").count == 2


async def test_a_row_of_an_unknown_state_version_is_refused_not_guessed_at(process: Process) -> None:
    newer = {"order_id": "o1", "version": 7, "state_version": 2, "data": '{"tally":1}'}
    with process.engine.begin() as connection:
        connection.execute(tallies.insert().values(newer))
    await process.take(ask("o2"), ask("o1"), ask("o3"))
    assert process.seen("o2")
    assert process.seen("o3")
    (letter,) = process.rows(dead_letters)
    assert letter["event_id"] == "ask-o1-1"
    assert "UnknownStateVersion" in letter["reason"]
    assert process.rows(tallies)[0] == newer


async def test_the_state_is_written_one_version_on_and_only_if_it_has_changed(process: Process) -> None:
    await process.take(ask("o1"))
    await process.take(ask("o1", "look", number=2))
    await process.take(ask("o1", number=3))
    assert column(process.rows(tallies), "version") == [2]


async def test_a_row_that_has_moved_on_is_not_overwritten(process: Process) -> None:
    """As it would be found if a lock had been lost: the update itself asserts the version."""
    await process.take(ask("o1"))
    original = TALLIES.update
    updates = 0

    class Racing(type(TALLIES)):  # type: ignore[misc]
        def update(self, connection: object, states: object) -> None:
            nonlocal updates
            updates += 1
            if updates == 1:
                ahead = tallies.update().values(version=5, data='{"count":5}')
                connection.execute(ahead)  # type: ignore[attr-defined]
            original(connection, states)  # type: ignore[arg-type]

    racing = Racing(table=tallies, key="order_id", type=Tally)
    second = await process.site.joined("inventory-0/b", context=replace(TALLY, aggregate=racing))
    await second.take(ask("o1", number=2))
    # The first update found the version moved and was rolled back, the other's write with it; then it was read again.
    assert updates == 2
    assert second.seen("o1") == ("ask-o1-1", "ask-o1-2")
    assert not second.rows(dead_letters)


async def test_the_table_shows_the_absolute_values_of_shared_rows(process: Process) -> None:
    await process.take(ask("o1", items={"p": 2, "q": 1}))
    await process.take(ask("o2", items={"p": 3}))
    assert process.shown.data == {"p": b'{"amount":5}', "q": b'{"amount":1}'}
