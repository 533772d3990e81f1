"""In a cluster a job prepares the databases and says who may write; the processes wait for it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, select
from sqlalchemy.exc import DBAPIError

from orderflow.runtime.database import RevisionRemoved, assert_allowed, is_infrastructure_failure, open_database
from orderflow.runtime.preparing import NotMigrated, allow_only, wait_for_migration
from orderflow.runtime.schema import allowed_revisions
from servers.postgres import Postgres

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'payment.sqlite'}"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


def test_a_process_waits_until_the_job_has_migrated(url: str, engine: Engine) -> None:
    with pytest.raises(NotMigrated, match="waits for the job"):
        wait_for_migration("payment", engine)
    allow_only("payment", url, ("r1",), engine, NOW)
    wait_for_migration("payment", engine)


def test_waiting_for_it_is_no_fault_of_the_process() -> None:
    assert is_infrastructure_failure(NotMigrated("not yet"))


def test_exactly_the_named_revisions_may_write(url: str, engine: Engine) -> None:
    allow_only("payment", url, ("r1", "r2"), engine, NOW)
    allow_only("payment", url, ("r2", "r3"), engine, NOW)
    with engine.begin() as connection:
        assert set(connection.scalars(select(allowed_revisions.c.revision))) == {"r2", "r3"}
        with pytest.raises(RevisionRemoved):
            assert_allowed(connection, "r1")


def test_credentials_come_from_files_and_a_new_password_is_used_at_once(
    postgres: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    address = make_url(postgres_url)
    (tmp_path / "username").write_text(f"{address.username}\n")
    (tmp_path / "password").write_text("wrong\n")
    bare = address.set(username=None, password=None).update_query_dict({"credentials": str(tmp_path)})
    engine = open_database(bare.render_as_string(hide_password=False))
    try:
        with pytest.raises(DBAPIError) as refused:
            engine.connect()
        assert is_infrastructure_failure(refused.value)
        (tmp_path / "password").write_text(f"{address.password}\n")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    finally:
        engine.dispose()
