"""What the runtime relies on in a database, on both stores of the simulator alike."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from orderflow.runtime.database import is_infrastructure_failure, open_database, reading
from orderflow.simulation.life import Killed
from orderflow.simulation.store import Kind, Store, make_blanks
from orderflow.simulation.virtual_time import START

INSERT = text("INSERT INTO message_attempts VALUES ('g', 't', 0, :number, 1)")
COUNT = text("SELECT count(*) FROM message_attempts")


@pytest.fixture(scope="module")
def blanks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blank")
    make_blanks(folder, "r1", START)
    return folder


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, blanks: Path, tmp_path: Path) -> Iterator[Store]:
    kind: Kind = request.param
    store = Store(blanks, tmp_path, kind)
    yield store
    store.close()


@pytest.fixture
def engine(store: Store) -> Engine:
    return store.engines["payment"]


def count(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.scalar(COUNT) or 0)


def test_what_was_committed_is_seen_by_everybody(store: Store, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
    assert count(engine) == 1
    assert store.peek("payment", "SELECT count(*) FROM message_attempts") == [(1,)]


def test_what_was_rolled_back_is_gone(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.begin()
        connection.execute(INSERT, {"number": 1})
        connection.rollback()
    assert count(engine) == 0


def test_nobody_sees_what_is_not_committed(store: Store, engine: Engine) -> None:
    """A file shows what was there before; memory lets nobody look meanwhile."""
    seen: list[int] = []
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
        with suppress(sqlite3.OperationalError):
            seen += [int(str(row[0])) for row in store.peek("payment", "SELECT count(*) FROM message_attempts")]
    assert seen == ([0] if store.kind == "file" else [])
    assert count(engine) == 1


def test_a_savepoint_takes_back_its_own_part_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
        savepoint = connection.begin_nested()
        connection.execute(INSERT, {"number": 2})
        savepoint.rollback()
        kept = connection.begin_nested()
        connection.execute(INSERT, {"number": 3})
        kept.commit()
    assert count(engine) == 2


def test_a_key_is_there_once_and_the_transaction_goes_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
        savepoint = connection.begin_nested()
        with pytest.raises(IntegrityError) as caught:
            connection.execute(INSERT, {"number": 1})
        savepoint.rollback()
        connection.execute(INSERT, {"number": 2})
    assert not is_infrastructure_failure(caught.value)
    assert count(engine) == 2


def test_whoever_only_reads_is_refused_its_writes(engine: Engine) -> None:
    with reading(engine) as connection, pytest.raises(OperationalError):
        connection.execute(INSERT, {"number": 1})
    assert count(engine) == 0


def test_a_second_writer_waits_in_vain_and_that_is_no_messages_fault(store: Store, engine: Engine) -> None:
    other = open_database(f"{store.urls['payment']}{'&' if store.kind == 'memory' else '?'}timeout=0.01")
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
        with pytest.raises(OperationalError) as caught, other.begin():
            pass
    assert is_infrastructure_failure(caught.value)
    with other.begin() as connection:
        connection.execute(INSERT, {"number": 2})
    other.dispose()
    assert count(engine) == 2


def test_a_process_that_dies_before_its_commit_leaves_nothing(store: Store, engine: Engine) -> None:
    store.on_commit = lambda _name: "crash-before"
    with pytest.raises(Killed), engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
    store.on_commit = lambda _name: ""
    assert count(engine) == 0


@pytest.mark.parametrize(("fault", "stored"), [("lost", 0), ("unclear", 1)])
def test_a_commit_can_fail_before_or_after_it_took_place(store: Store, engine: Engine, fault: str, stored: int) -> None:
    store.on_commit = lambda _name: fault
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
    store.on_commit = lambda _name: ""
    assert is_infrastructure_failure(caught.value)
    assert count(engine) == stored


def test_each_run_begins_with_a_new_database(store: Store, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT, {"number": 1})
    store.reset()
    assert count(engine) == 0
    assert store.peek("payment", "SELECT revision FROM allowed_revisions") == [("r1",)]
