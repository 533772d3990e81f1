"""What a context's database promises, on SQLite; ``tests/broker/test_database_postgres.py`` asks it of PostgreSQL."""

import multiprocessing
import os
import signal
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, ResourceClosedError

from orderflow.runtime import schema
from orderflow.runtime.columns import Moment
from orderflow.runtime.database import (
    RevisionRemoved,
    allow_revision,
    assert_allowed,
    is_infrastructure_failure,
    open_database,
    reading,
)

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)

metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("balance", Integer, nullable=False),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/payment.db"


@pytest.fixture
def engine(url: str) -> Engine:
    engine = open_database(url)
    metadata.create_all(engine)
    schema.allowed_revisions.create(engine)
    return engine


def impatient(url: str) -> Engine:
    """Open a database so that its connections give up at once where they would wait for a lock."""
    return open_database(f"{url}?timeout=0")


def pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_the_folders_of_the_file_are_created(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path}/state/orders/order.db").begin():
        pass
    assert (tmp_path / "state/orders/order.db").exists()


@pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
def test_a_file_is_opened_with_a_write_ahead_log_and_the_durability_asked_for(
    url: str, durability: str, synchronous: int
) -> None:
    with open_database(url, durability).connect() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == synchronous
        assert pragma(connection, "busy_timeout") == 0
    with reading(open_database(url, durability)) as connection:
        assert pragma(connection, "busy_timeout") == 5000
        assert pragma(connection, "foreign_keys") == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/orders"])
def test_what_is_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="database"):
        open_database(url)


def test_an_unknown_durability_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="normal, full"):
        open_database(url, "extreme")


def test_a_write_transaction_holds_the_lock_from_its_beginning(engine: Engine, url: str) -> None:
    with engine.begin(), pytest.raises(DBAPIError, match="locked"):
        impatient(url).connect().execute(text("SELECT 1"))


def test_a_connection_that_could_not_begin_executes_nothing_more(engine: Engine, url: str) -> None:
    with engine.begin(), impatient(url).connect() as other:
        with pytest.raises(DBAPIError, match="locked"):
            other.execute(insert(accounts).values(name="a", balance=1))
        with pytest.raises(ResourceClosedError):
            other.execute(insert(accounts).values(name="a", balance=1))
    with reading(engine) as connection:
        assert connection.execute(select(accounts)).all() == []


def test_readers_neither_wait_for_a_writer_nor_see_what_it_has_not_committed(engine: Engine) -> None:
    with engine.begin() as writer:
        writer.execute(insert(accounts).values(name="a", balance=1))
        with reading(engine) as connection:
            assert connection.execute(select(accounts)).all() == []
    with reading(engine) as connection:
        assert connection.execute(select(accounts.c.balance)).scalar() == 1


def test_a_reader_sees_one_snapshot(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.execute(select(accounts)).all() == []
        with engine.begin() as writer:
            writer.execute(insert(accounts).values(name="a", balance=1))
        assert connection.execute(select(accounts)).all() == []


def test_a_reader_cannot_write_and_its_connection_can_afterwards(url: str) -> None:
    engine = open_database(url)
    metadata.create_all(engine)
    with reading(engine) as connection, pytest.raises(DBAPIError, match="readonly"):
        connection.execute(insert(accounts).values(name="a", balance=1))
    for name in ("b", "c"):
        with engine.begin() as connection:
            connection.execute(insert(accounts).values(name=name, balance=1))


def test_a_savepoint_can_be_given_up_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(accounts).values(name="a", balance=1))
        savepoint = connection.begin_nested()
        connection.execute(insert(accounts).values(name="b", balance=1))
        savepoint.rollback()
    with reading(engine) as connection:
        assert connection.execute(select(accounts.c.name)).scalars().all() == ["a"]


def test_threads_take_turns_without_losing_an_update(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(accounts).values(name="a", balance=0))

    def add() -> None:
        for _ in range(10):
            with engine.begin() as connection:
                balance = connection.execute(select(accounts.c.balance)).scalar_one()
                connection.execute(accounts.update().values(balance=balance + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.execute(select(accounts.c.balance)).scalar() == 40


def test_a_commit_outlives_the_sudden_end_of_its_process(engine: Engine, url: str) -> None:
    def commit_and_die() -> None:
        with open_database(url).begin() as connection:
            connection.execute(insert(accounts).values(name="a", balance=1))
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=commit_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with reading(engine) as connection:
        assert connection.execute(select(accounts.c.name)).scalars().all() == ["a"]


def test_moments_come_back_as_they_went(engine: Engine) -> None:
    moments = Table("moments", MetaData(), Column("at", Moment))
    exact = NOW.replace(microsecond=123456)
    with engine.begin() as connection:
        moments.create(connection)
        connection.execute(insert(moments).values(at=exact))
        assert connection.execute(select(moments.c.at)).scalar() == exact


def test_a_revision_that_was_allowed_may_write(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "v1", NOW)
        assert_allowed(connection, "v1")


def test_a_revision_allowed_twice_keeps_its_first_time(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "v1", NOW)
        allow_revision(connection, "v1", NOW.replace(year=2026))
        assert connection.execute(select(schema.allowed_revisions.c.since)).scalars().all() == [NOW]


def test_a_revision_that_was_removed_or_never_allowed_may_not(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "v2", NOW)
        with pytest.raises(RevisionRemoved, match="'v1'"):
            assert_allowed(connection, "v1")


def failure_of(connection: Connection, statement: str, **parameters: object) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the caller looks at
        connection.execute(text(statement), parameters)
    return caught.value


def test_a_locked_database_is_no_messages_fault(engine: Engine, url: str) -> None:
    with engine.begin(), impatient(url).connect() as other:
        assert is_infrastructure_failure(failure_of(other, "SELECT 1"))


def test_a_full_disk_is_no_messages_fault(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        error = failure_of(connection, "CREATE TABLE big AS SELECT randomblob(1000000) AS bytes")
        assert "full" in str(error)
        assert is_infrastructure_failure(error)


def test_a_file_that_cannot_be_opened_is_no_messages_fault(tmp_path: Path) -> None:
    (tmp_path / "order.db").mkdir()
    with pytest.raises(DBAPIError) as caught:
        open_database(f"sqlite:///{tmp_path}/order.db").connect()
    assert is_infrastructure_failure(caught.value)


def test_a_broken_file_is_no_messages_fault(tmp_path: Path) -> None:
    (tmp_path / "order.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DBAPIError) as caught:
        open_database(f"sqlite:///{tmp_path}/order.db").connect()
    assert is_infrastructure_failure(caught.value)


def test_an_interrupted_statement_is_no_messages_fault(engine: Engine) -> None:
    with engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(lambda: 1, 1)
        error = failure_of(connection, "SELECT count(*) FROM accounts")
        driver.set_progress_handler(None, 0)
    assert is_infrastructure_failure(error)


@pytest.mark.parametrize(
    "statement", ["SELECT * FROM missing", "SELECT missing FROM accounts", "INSERT INTO accounts (missing) VALUES (1)"]
)
def test_a_database_that_was_not_migrated_is_no_messages_fault(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        assert is_infrastructure_failure(failure_of(connection, statement))


def test_a_connection_closed_underneath_is_no_messages_fault(engine: Engine) -> None:
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.close()
        assert is_infrastructure_failure(failure_of(connection, "SELECT 1"))


def test_the_drivers_own_errors_are_told_apart_as_well(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as away:
        sqlite3.connect(tmp_path / "missing" / "order.db")
    assert is_infrastructure_failure(away.value)


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("INSERT INTO accounts VALUES ('a', 1), ('a', 2)", {}),
        ("INSERT INTO accounts VALUES ('a', NULL)", {}),
        ("INSERT INTO accounts VALUES ('a', :balance)", {"balance": 2**70}),
        ("INSERT INTO accounts VALUES ('a', :balance)", {"balance": object()}),
        ("SELECT 1 FROM", {}),
    ],
    ids=["unique", "not null", "too large an integer", "no SQL value", "syntax"],
)
def test_a_data_error_is_not_the_databases(engine: Engine, statement: str, parameters: dict[str, object]) -> None:
    with engine.begin() as connection:
        assert not is_infrastructure_failure(failure_of(connection, statement, **parameters))


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError(), RevisionRemoved("x")])
def test_an_error_of_the_code_is_not_the_databases(error: Exception) -> None:
    assert not is_infrastructure_failure(error)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError(28, "No space left on device")])
def test_an_error_of_the_operating_system_is_no_messages_fault(error: OSError) -> None:
    assert is_infrastructure_failure(error)
