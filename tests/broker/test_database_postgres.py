"""What a context's database promises, on PostgreSQL; ``tests/unit/runtime/test_database.py`` asks it of SQLite."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import Connection, Engine, delete, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError

from orderflow.runtime import schema
from orderflow.runtime.database import (
    RevisionRemoved,
    allow_revision,
    assert_allowed,
    is_infrastructure_failure,
    open_database,
    reading,
)
from servers.postgres import Postgres
from servers.process import free_port

NOW = datetime(2025, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
revisions = schema.allowed_revisions


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_database(postgres_url)
    with engine.begin() as connection:
        schema.allowed_revisions.create(connection)
        connection.execute(text("CREATE TABLE accounts (name VARCHAR(5) PRIMARY KEY, balance NUMERIC(4, 2) NOT NULL)"))
        connection.execute(text("INSERT INTO accounts VALUES ('a', 1), ('b', 1)"))
    yield engine
    engine.dispose()


def setting(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"SHOW {name}").scalar()


def failure_of(connection: Connection, statement: str, **parameters: object) -> BaseException:
    with pytest.raises(DBAPIError) as caught:
        connection.execute(text(statement), parameters)
    connection.rollback()
    return caught.value


def test_nothing_waits_for_ever(engine: Engine) -> None:
    with engine.connect() as connection:
        assert setting(connection, "lock_timeout") == "5s"
        assert setting(connection, "statement_timeout") == "30s"
        assert setting(connection, "idle_in_transaction_session_timeout") == "1min"
        assert setting(connection, "application_name") == "orderflow"


def test_what_the_address_says_goes_first(postgres_url: str) -> None:
    engine = open_database(f"{postgres_url}?application_name=mine&options=-c%20lock_timeout%3D1s")
    with engine.connect() as connection:
        assert setting(connection, "application_name") == "mine"
        assert setting(connection, "lock_timeout") == "1s"
    engine.dispose()


def test_an_address_without_a_driver_will_do(postgres_url: str) -> None:
    engine = open_database(postgres_url.replace("+psycopg", ""))
    with engine.connect() as connection:
        assert setting(connection, "application_name") == "orderflow"
    engine.dispose()


def test_a_reader_sees_one_snapshot_and_cannot_write(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM accounts")).scalar() == 2
        with engine.begin() as writer:
            writer.execute(text("INSERT INTO accounts VALUES ('c', 1)"))
        assert connection.execute(text("SELECT count(*) FROM accounts")).scalar() == 2
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(text("DELETE FROM accounts"))


def test_a_connection_that_was_read_from_can_write_afterwards(engine: Engine) -> None:
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM accounts"))


def test_a_revision_may_write_while_it_is_allowed(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "v1", NOW)
        allow_revision(connection, "v1", NOW.replace(year=2026))
        assert_allowed(connection, "v1")
        assert connection.execute(select(revisions.c.since)).scalars().all() == [NOW]
        with pytest.raises(RevisionRemoved):
            assert_allowed(connection, "v2")


def test_removing_a_revision_waits_for_what_it_is_writing_and_lets_nothing_through_after(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "bad", NOW)
    removed = threading.Event()

    def remove() -> None:
        with engine.begin() as connection:
            connection.execute(delete(revisions).where(revisions.c.revision == "bad"))
        removed.set()

    with ThreadPoolExecutor() as pool:
        with engine.begin() as writing:
            assert_allowed(writing, "bad")
            done = pool.submit(remove)
            wait_for_a_lock(engine)
            assert not removed.is_set()
        done.result()
    with engine.begin() as connection, pytest.raises(RevisionRemoved):
        assert_allowed(connection, "bad")


def wait_for_a_lock(engine: Engine, waiting: int = 1) -> None:
    """Return once so many sessions of this database wait for a lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        with engine.connect() as connection:
            if connection.execute(query).scalar_one() >= waiting:
                return


def test_revisions_are_asserted_side_by_side(engine: Engine) -> None:
    with engine.begin() as connection:
        allow_revision(connection, "v1", NOW)
    with engine.begin() as one, engine.begin() as other:
        other.exec_driver_sql("SET LOCAL lock_timeout = '10ms'")
        assert_allowed(one, "v1")
        assert_allowed(other, "v1")


def test_a_server_that_is_not_there_is_no_messages_fault(postgres_url: str) -> None:
    away = make_url(postgres_url).set(port=free_port()).render_as_string(hide_password=False)
    with pytest.raises(DBAPIError) as caught:
        open_database(away).connect()
    assert is_infrastructure_failure(caught.value)


@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"password": "wrong"}], ids=["database", "password"])
def test_an_address_that_is_wrong_is_no_messages_fault(postgres_url: str, wrong: dict[str, str]) -> None:
    url = make_url(postgres_url).set(database=wrong.get("database"), password=wrong.get("password"))
    with pytest.raises(DBAPIError) as caught:
        open_database(url.render_as_string(hide_password=False)).connect()
    assert is_infrastructure_failure(caught.value)


def test_a_server_that_goes_away_is_no_messages_fault_and_is_found_again(postgres: Postgres, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        postgres.stop()
        try:
            with pytest.raises(DBAPIError) as caught:
                connection.execute(text("SELECT 1"))
        finally:
            postgres.start()
        assert is_infrastructure_failure(caught.value)
        with pytest.raises(Exception, match="rolled back") as pending:
            connection.execute(text("SELECT 1"))
        assert is_infrastructure_failure(pending.value)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM accounts")).scalar() == 2


def test_a_session_that_the_server_ended_is_no_messages_fault(engine: Engine) -> None:
    with engine.connect() as connection, engine.connect() as other:
        session = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.execute(text("SELECT pg_terminate_backend(:session)"), {"session": session})
        assert is_infrastructure_failure(failure_of(connection, "SELECT 1"))


def test_a_statement_that_takes_too_long_is_no_messages_fault(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = '10ms'")
        assert is_infrastructure_failure(failure_of(connection, "SELECT pg_sleep(5)"))


def test_a_lock_that_takes_too_long_is_no_messages_fault(engine: Engine) -> None:
    with engine.begin() as holder, engine.connect() as connection:
        holder.execute(text("UPDATE accounts SET balance = 2"))
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10ms'")
        assert is_infrastructure_failure(failure_of(connection, "UPDATE accounts SET balance = 3"))


def test_a_deadlock_is_no_messages_fault(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other, ThreadPoolExecutor() as pool:
        take = text("UPDATE accounts SET balance = 2 WHERE name = :name")
        one.execute(take, {"name": "a"})
        other.execute(take, {"name": "b"})
        first = pool.submit(one.execute, take, {"name": "b"})
        second = pool.submit(other.execute, take, {"name": "a"})
        errors = [error for error in (first.exception(), second.exception()) if error is not None]
    assert len(errors) == 1
    assert is_infrastructure_failure(errors[0])


def test_a_transaction_given_up_for_another_is_no_messages_fault(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        connection.execute(text("SELECT * FROM accounts"))
        with engine.begin() as other:
            other.execute(text("UPDATE accounts SET balance = 2"))
        assert is_infrastructure_failure(failure_of(connection, "UPDATE accounts SET balance = 3"))


@pytest.mark.parametrize("statement", ["SELECT * FROM missing", "SELECT missing FROM accounts"])
def test_a_database_that_was_not_migrated_is_no_messages_fault(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        assert is_infrastructure_failure(failure_of(connection, statement))


def test_a_pool_without_a_free_connection_is_no_messages_fault(postgres_url: str) -> None:
    engine = open_database(postgres_url)
    engine.pool._timeout = 0  # type: ignore[attr-defined]  # instead of waiting as long as it would
    held = [engine.connect() for _ in range(15)]
    with pytest.raises(Exception, match="QueuePool") as caught:
        engine.connect()
    assert is_infrastructure_failure(caught.value)
    for connection in held:
        connection.close()
    engine.dispose()


def test_the_drivers_own_errors_are_told_apart_as_well(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(host="127.0.0.1", port=free_port(), dbname="postgres")
    assert is_infrastructure_failure(caught.value)


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("INSERT INTO accounts VALUES ('a', 1)", {}),
        ("INSERT INTO accounts VALUES ('c', NULL)", {}),
        ("INSERT INTO accounts VALUES ('too long', 1)", {}),
        ("INSERT INTO accounts VALUES ('c', 123456)", {}),
        ("INSERT INTO accounts VALUES (:name, 1)", {"name": "\0"}),
        ("INSERT INTO accounts VALUES (:name, 1)", {"name": object()}),
        ("INSERT INTO accounts VALUES ('c', CAST('x' AS NUMERIC))", {}),
        ("SELECT 1 / 0", {}),
        ("SELECT 1 FROM", {}),
    ],
    ids=["unique", "not null", "too long", "too large", "NUL", "no SQL value", "cast", "division", "syntax"],
)
def test_a_data_error_is_not_the_databases(engine: Engine, statement: str, parameters: dict[str, object]) -> None:
    with engine.connect() as connection:
        assert not is_infrastructure_failure(failure_of(connection, statement, **parameters))


def test_a_row_that_is_twice_in_a_batch_is_the_datas_fault(engine: Engine) -> None:
    rows = [{"revision": "v1", "since": NOW}, {"revision": "v1", "since": NOW}]
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(insert(revisions), rows)
    assert not is_infrastructure_failure(caught.value)
