"""What migrating a context's database promises, on SQLite."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from structlog.testing import capture_logs

from orderflow.runtime.database import open_database
from orderflow.runtime.migrate import MigrationFailed, alembic_config, at_head, migrate
from servers.shapes import contexts_with_migrations, metadata_of, shape_of

CONTEXTS = contexts_with_migrations()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/100%/payment.db"


def execute(url: str, statement: str) -> None:
    with open_database(url).begin() as connection:
        connection.execute(text(statement))


def tables(url: str) -> set[str]:
    return set(inspect(open_database(url)).get_table_names())


@pytest.mark.parametrize("context", CONTEXTS)
def test_migrating_gives_the_tables_that_the_code_expects(context: str, tmp_path: Path) -> None:
    migrated = open_database(f"sqlite:///{tmp_path}/migrated.db")
    migrate(context, str(migrated.url))
    expected = open_database(f"sqlite:///{tmp_path}/expected.db")
    metadata_of(context).create_all(expected)

    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata_of(context)) == []
    assert shape_of(migrated) == shape_of(expected)


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_migration_can_be_undone_and_done_again(context: str, url: str) -> None:
    migrate(context, url)
    engine = open_database(url)
    before = shape_of(engine)
    with engine.begin() as connection:
        command.downgrade(alembic_config(context, connection), "base")
    assert shape_of(engine) == {}
    assert not at_head(engine, context)
    migrate(context, url)
    assert shape_of(engine) == before


def test_a_database_is_at_head_once_it_is_migrated(url: str) -> None:
    engine = open_database(url)
    assert not at_head(engine, "payment")
    migrate("payment", url)
    assert at_head(engine, "payment")


def test_a_database_that_has_the_runtimes_tables_alone_gets_the_contexts(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        command.upgrade(alembic_config("payment", connection), "runtime@head")
    assert not at_head(engine, "payment")
    migrate("payment", url)
    assert at_head(engine, "payment")
    assert "payments" in tables(url)


def test_a_newer_database_is_accepted_and_left_alone(url: str) -> None:
    migrate("payment", url)
    execute(url, "UPDATE alembic_version SET version_num = 'payment_9999' WHERE version_num LIKE 'payment%'")
    execute(url, "DROP TABLE payments")
    with capture_logs() as logs:
        migrate("payment", url)
    assert [(entry["event"], entry["newer"]) for entry in logs] == [
        ("database is newer than this code and stays as it is", ["payment_9999"])
    ]
    assert "payments" not in tables(url)
    assert at_head(open_database(url), "payment")


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    execute(url, "CREATE TABLE payments (mine INTEGER)")
    with pytest.raises(MigrationFailed, match="payments already exists"):
        migrate("payment", url)
    assert tables(url) == {"payments"}


def test_an_unknown_context_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="'billing'"):
        migrate("billing", url)


def test_several_processes_may_migrate_at_once(url: str) -> None:
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(4)

    def start(barrier: Barrier) -> None:
        barrier.wait()
        migrate("payment", url)

    replicas = [processes.Process(target=start, args=(together,)) for _ in range(4)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    assert [replica.exitcode for replica in replicas] == [0, 0, 0, 0]
    assert at_head(open_database(url), "payment")


def test_threads_may_migrate_several_contexts_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        urls = {context: f"sqlite:///{tmp_path}/{context}.db" for context in CONTEXTS}
        list(pool.map(migrate, urls, urls.values()))
    assert all(at_head(open_database(url), context) for context, url in urls.items())


def test_a_start_with_nothing_to_do_does_not_load_alembic(url: str) -> None:
    migrate("payment", url)
    code = (
        "import sys; from orderflow.runtime.migrate import migrate\n"
        f"migrate('payment', {url!r})\n"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
