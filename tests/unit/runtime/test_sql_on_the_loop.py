"""SQLite is written on the event loop: in turn, waiting for the lock without holding the loop up, people first."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from orderflow.runtime import sql_thread
from orderflow.runtime.database import open_database
from orderflow.runtime.precedence import Precedence
from orderflow.runtime.sql_thread import SqlOnLoop, SqlThread, sql_for


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/some.sqlite")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE lines (line TEXT)"))
    yield engine
    engine.dispose()


@pytest.fixture
def precedence(tmp_path: Path) -> Iterator[Precedence]:
    precedence = Precedence(f"{tmp_path}/precedence")
    yield precedence
    precedence.close()


def write(engine: Engine, line: str) -> str:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO lines VALUES (:line)"), {"line": line})
    return line


def lines(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT line FROM lines ORDER BY rowid")))


@contextmanager
def held(engine: Engine) -> Iterator[sqlite3.Connection]:
    """Somebody else has the lock, until the transaction that is given has ended."""
    other = sqlite3.connect(str(engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def test_work_is_done_in_the_order_in_which_it_was_asked_for(engine: Engine) -> None:
    sql = SqlOnLoop()
    await asyncio.gather(*(sql.run(write, engine, str(number)) for number in range(20)))
    assert lines(engine) == [str(number) for number in range(20)]


async def test_while_another_process_has_the_lock_the_loop_goes_on(engine: Engine) -> None:
    sql = SqlOnLoop()
    with held(engine) as other:
        writing = asyncio.create_task(sql.run(write, engine, "a"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writing.done()
        other.rollback()
        assert await writing == "a"
    assert lines(engine) == ["a"]


async def test_a_lock_that_does_not_come_free_is_a_failure_of_the_store(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_thread, "LOCK_PATIENCE_MS", 0)
    with held(engine), pytest.raises(OperationalError, match="locked"):
        await SqlOnLoop().run(write, engine, "a")
    assert lines(engine) == []


async def test_what_the_work_raises_is_passed_on_and_the_next_has_its_turn(engine: Engine) -> None:
    sql = SqlOnLoop()

    def fail() -> None:
        raise KeyError("at fault")

    with pytest.raises(KeyError):
        await sql.run(fail)
    assert await sql.run(write, engine, "a") == "a"


async def test_whoever_waits_for_a_person_goes_first(engine: Engine, precedence: Precedence) -> None:
    sql = SqlOnLoop(precedence)
    other = Precedence(f"{engine.url.database}".replace("some.sqlite", "precedence"))
    with other.claimed():
        writing = asyncio.create_task(sql.run(write, engine, "a"))
        await asyncio.sleep(0)
        assert not writing.done()
    assert await writing == "a"
    other.close()


async def test_a_claim_that_is_never_given_up_keeps_nobody_waiting_for_good(
    engine: Engine, precedence: Precedence
) -> None:
    other = Precedence(f"{engine.url.database}".replace("some.sqlite", "precedence"))
    with other.claimed():
        assert await SqlOnLoop(precedence).run(write, engine, "a") == "a"
    other.close()


def test_a_claim_goes_with_its_process(tmp_path: Path, precedence: Precedence) -> None:
    other = Precedence(f"{tmp_path}/precedence")
    with other.claimed():
        assert precedence.is_claimed()
        assert precedence.is_claimed(), "looking takes nothing away"
    assert not precedence.is_claimed()
    other.close()


def test_postgresql_is_waited_for_in_a_thread(engine: Engine) -> None:
    elsewhere = sql_for(create_engine("postgresql+psycopg://nowhere/nothing"), "some")
    here = sql_for(engine, "some")
    assert isinstance(elsewhere, SqlThread)
    assert isinstance(here, SqlOnLoop)
    elsewhere.close()
    here.close()
