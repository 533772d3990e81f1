"""The statements that are compiled once do on PostgreSQL what they do on SQLite."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine

from harness.tally import COMMANDS, NOON, ask
from orderflow.contracts import codec
from orderflow.contracts.decision import Call
from orderflow.runtime import inbox, ledger, outbox, task_rows
from orderflow.runtime.database import open_database, reading
from orderflow.runtime.incoming import Record
from orderflow.runtime.schema import metadata

LEASE = timedelta(seconds=10)
HERE = "inventory-0/a"


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def claim(engine: Engine, seconds: float, owner: str = HERE) -> list[task_rows.Task]:
    with engine.begin() as connection:
        return task_rows.claim(connection, owner, LEASE, 10, at(seconds))


def record_a_call(engine: Engine) -> None:
    call = Call(task_id="call-o1", provider="card", operation="charge", key="key", arguments={})
    with engine.begin() as connection:
        task_rows.insert(connection, [("o1", call, ask("o1"), None)], owner=None, lease=LEASE, now=NOON)


def test_a_task_is_claimed_postponed_and_claimed_again_with_its_doubts(engine: Engine) -> None:
    record_a_call(engine)
    (task,) = claim(engine, 0)
    assert (task.task_id, task.attempts, task.unclear, task.due_at) == ("call-o1", 0, False, NOON)
    doubtful = msgspec.structs.replace(task, attempts=1, unclear=True, horizon={"order-events": 3})
    with engine.begin() as connection:
        assert task_rows.postpone(connection, doubtful, HERE, at(5), "Unclear")
        assert not task_rows.postpone(connection, task, HERE, at(9), None)
    assert claim(engine, 4) == []
    (again,) = claim(engine, 5)
    assert (again.attempts, again.unclear, again.horizon) == (1, True, {"order-events": 3})


def test_a_claim_is_extended_and_freed_by_the_instance_alone(engine: Engine) -> None:
    record_a_call(engine)
    claim(engine, 0)
    with engine.begin() as connection:
        task_rows.extend(connection, ["call-o1"], HERE, at(30))
        task_rows.free(connection, "inventory_0/b")
    assert claim(engine, 20, "inventory-1/c") == []
    with engine.begin() as connection:
        task_rows.free(connection, "inventory-0/b")
    (task,) = claim(engine, 20, "inventory-1/c")
    assert task.unclear


def test_unpublished_rows_come_in_order_and_no_more_than_asked_for(engine: Engine) -> None:
    with engine.begin() as connection:
        rows = outbox.insert(connection, [(ask(f"o{number}"), None) for number in range(3)], NOON)
    with reading(engine) as connection:
        found = outbox.unpublished(connection, at(1), 2)
        assert [row.event_id for row in found] == [row.event_id for row in rows[:2]]
        assert outbox.is_unpublished(connection, rows[2].event_id)
        assert not outbox.is_unpublished(connection, "another")


def test_a_partition_is_claimed_read_and_released(engine: Engine) -> None:
    places = [(COMMANDS, 0), (COMMANDS, 1), ("order-events", 1)]
    with engine.begin() as connection:
        ledger.claim(connection, "g", places, HERE, NOON)
        assert set(ledger.read(connection, "g", places[1:])) == set(places[1:])
        ledger.release(connection, "g", places[:1], HERE)
        owners = {place: entry.owner for place, entry in ledger.read(connection, "g", places).items()}
    assert owners == {places[0]: None, places[1]: HERE, places[2]: HERE}


def test_attempts_are_counted_and_forgotten(engine: Engine) -> None:
    records = [Record(COMMANDS, 0, offset, "o1", codec.encode(ask("o1")), {}) for offset in (4, 5)]
    with engine.begin() as connection:
        assert [inbox.begin_attempt(connection, "g", records[0]) for _ in range(3)] == [0, 1, 2]
        assert inbox.begin_attempt(connection, "g", records[1]) == 0
        assert inbox.begin_attempt(connection, "g", records[0]) == 0
        inbox.forget_attempts(connection, "g", (COMMANDS, 0))
        assert inbox.begin_attempt(connection, "g", records[1]) == 0
