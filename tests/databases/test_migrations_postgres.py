"""What migrating a context's database promises, on PostgreSQL; ``tests/unit/runtime`` asks it of SQLite."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from orderflow.runtime.database import open_database
from orderflow.runtime.migrate import (
    MigrationFailed,
    alembic_config,
    at_head,
    create_database_if_missing,
    migrate,
)
from servers.postgres import Postgres
from servers.shapes import contexts_with_migrations, metadata_of, shape_of

CONTEXTS = contexts_with_migrations()


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = open_database(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def missing(postgres: Postgres) -> Iterator[str]:
    """The address of a database that does not exist, with a name that has to be quoted."""
    name = f"Order-{uuid4()}"
    yield postgres.url(name)
    postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def in_processes(count: int, context: str, url: str) -> list[int | None]:
    """Migrate in so many processes at once and return how each of them ended."""
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(count)

    def start(barrier: Barrier) -> None:
        barrier.wait()
        migrate(context, url)

    replicas = [processes.Process(target=start, args=(together,)) for _ in range(count)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    return [replica.exitcode for replica in replicas]


@pytest.mark.parametrize("context", CONTEXTS)
def test_migrating_gives_the_tables_that_the_code_expects(
    context: str, engine: Engine, postgres_url: str, missing: str
) -> None:
    migrate(context, postgres_url)
    create_database_if_missing(missing)
    expected = open_database(missing)
    metadata_of(context).create_all(expected)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata_of(context)) == []
    assert shape_of(engine) == shape_of(expected)
    expected.dispose()


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_migration_can_be_undone_and_done_again(context: str, engine: Engine, postgres_url: str) -> None:
    migrate(context, postgres_url)
    before = shape_of(engine)
    with engine.begin() as connection:
        command.downgrade(alembic_config(context, connection), "base")
    assert shape_of(engine) == {}
    assert not at_head(engine, context)
    migrate(context, postgres_url)
    assert shape_of(engine) == before
    assert at_head(engine, context)


def test_a_newer_database_is_accepted_and_left_alone(engine: Engine, postgres_url: str) -> None:
    migrate("payment", postgres_url)
    execute(engine, "UPDATE alembic_version SET version_num = 'runtime_9999' WHERE version_num LIKE 'runtime%'")
    execute(engine, "DROP TABLE payments")
    with capture_logs() as logs:
        migrate("payment", postgres_url)
    assert [entry["newer"] for entry in logs] == [["runtime_9999"]]
    assert not inspect(engine).has_table("payments")
    assert at_head(engine, "payment")


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine, postgres_url: str) -> None:
    execute(engine, "CREATE TABLE payments (mine INTEGER)")
    with pytest.raises(MigrationFailed, match="already exists"):
        migrate("payment", postgres_url)
    assert inspect(engine).get_table_names() == ["payments"]


def test_several_processes_may_migrate_at_once(engine: Engine, postgres_url: str) -> None:
    assert in_processes(4, "payment", postgres_url) == [0, 0, 0, 0]
    assert at_head(engine, "payment")


def test_several_processes_may_create_and_migrate_a_database_at_once(missing: str) -> None:
    assert in_processes(4, "payment", missing) == [0, 0, 0, 0]
    created = open_database(missing)
    assert at_head(created, "payment")
    created.dispose()


def test_a_database_is_created_once(missing: str) -> None:
    assert create_database_if_missing(missing)
    assert not create_database_if_missing(missing)


def test_an_address_that_is_wrong_is_not_mistaken_for_a_missing_database(postgres_url: str) -> None:
    wrong = open_database(postgres_url).url.set(password="wrong").render_as_string(hide_password=False)
    with pytest.raises(DBAPIError, match="password"):
        migrate("payment", wrong)
