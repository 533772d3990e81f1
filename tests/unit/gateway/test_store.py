import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from harness.process import gone
from orderflow.contracts.decision import Refused
from orderflow.gateway import store as module
from orderflow.gateway.grouped_writes import Locked
from orderflow.gateway.store import RETRIES, Store, StoreUnavailable
from orderflow.runtime.rows import StaleState
from orderflow.runtime.schema import allowed_revisions as table


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    monkeypatch.setattr(module, "LOCK_PATIENCE", 0.02)


def add(connection: Connection, revision: str) -> None:
    connection.execute(text("INSERT INTO allowed_revisions VALUES (:r, '2026-01-01')"), {"r": revision})


def adding(revision: str) -> Callable[[Connection, int], None]:
    return lambda connection, _attempt: add(connection, revision)


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Somebody else writes in this database for as long as it takes."""
    other = sqlite3.connect(str(engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


async def test_work_is_committed_when_it_returns(store: Store) -> None:
    def work(connection: Connection, attempt: int) -> int:
        add(connection, "a")
        return attempt

    assert await store.write(work) == 0
    assert await store.read(count) == 1


async def test_a_refusal_goes_through_at_once_and_rolls_back(store: Store) -> None:
    attempts = []

    def refuse(connection: Connection, attempt: int) -> None:
        attempts.append(attempt)
        add(connection, "a")
        raise Refused("items", "no")

    with pytest.raises(Refused):
        await store.write(refuse)
    assert attempts == [0]
    assert await store.read(count) == 0


@pytest.mark.parametrize(
    "failure",
    [StaleState("moved on"), IntegrityError("", {}, Exception()), OSError("disk"), None],
    ids=["stale", "appeared", "infrastructure", "locked"],
)
async def test_a_transient_failure_is_tried_again(store: Store, failure: Exception | None) -> None:
    def work(connection: Connection, attempt: int) -> int:
        add(connection, f"attempt {attempt}")
        if attempt < RETRIES:
            raise failure or Locked("held")
        return attempt

    assert await store.write(work) == RETRIES
    assert await store.read(count) == 1


async def test_retries_are_bounded_and_end_in_unavailable(store: Store) -> None:
    attempts = []

    def work(connection: Connection, attempt: int) -> None:
        attempts.append(attempt)
        add(connection, f"attempt {attempt}")
        raise StaleState("again")

    with pytest.raises(StoreUnavailable):
        await store.write(work)
    assert attempts == [0, 1, 2, 3]
    assert await store.read(count) == 0


async def test_a_fault_of_the_code_is_not_tried_again(store: Store) -> None:
    attempts = []

    def work(_connection: Connection, attempt: int) -> None:
        attempts.append(attempt)
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await store.write(work)
    assert attempts == [0]


async def test_a_database_that_somebody_holds_is_unavailable_after_bounded_waits(store: Store, engine: Engine) -> None:
    with locked(engine), pytest.raises(StoreUnavailable):
        await store.write(lambda c, _: add(c, "a"))
    await store.write(lambda c, _: add(c, "a"))


async def test_who_does_not_wait_for_locks_is_told_that_it_is_locked(store: Store, engine: Engine) -> None:
    with locked(engine), pytest.raises(Locked):
        await store.write(lambda c, _: add(c, "a"), wait_for_locks=False)


async def test_who_queues_behind_others_that_wait_for_the_lock_waits_no_longer_than_they(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE", 0.2)
    began = time.monotonic()
    with locked(engine):
        ends = await asyncio.gather(
            *(store.write(lambda c, _: add(c, "a"), wait_for_locks=False) for _ in range(10)), return_exceptions=True
        )
    assert all(isinstance(end, Locked) for end in ends)
    assert time.monotonic() - began < 1.0


async def test_who_has_queued_for_long_still_writes_where_nobody_holds_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE", -1.0)
    await store.write(lambda c, _: add(c, "a"), wait_for_locks=False)


async def test_reading_goes_on_while_somebody_writes(store: Store, engine: Engine) -> None:
    with locked(engine):
        assert await store.read(count) == 0


async def test_reading_cannot_write(store: Store) -> None:
    with pytest.raises((StoreUnavailable, OperationalError)):
        await store.read(lambda c: add(c, "a"))


async def test_a_database_that_is_not_migrated_is_unavailable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(StoreUnavailable):
        await store.read(count)
    store.close()


async def test_sqlite_is_written_by_one_thread(store: Store) -> None:
    def work(_connection: Connection, _attempt: int) -> int:
        return threading.get_ident()

    assert len(set(await asyncio.gather(*(store.write(work) for _ in range(8))))) == 1


async def test_work_that_waits_too_long_for_its_turn_is_not_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_PATIENCE", -1.0)
    begun: list[Connection] = []
    with pytest.raises(StoreUnavailable):
        await store.read(begun.append)
    assert begun == []


class TestWritesThatAreAskedForTogether:
    """On SQLite they share a transaction."""

    async def test_are_all_done(self, store: Store) -> None:
        await asyncio.gather(*(store.write(adding(f"{name}")) for name in range(50)))
        assert await store.read(count) == 50

    async def test_wait_for_the_lock_once(self, store: Store, engine: Engine) -> None:
        begun: list[str] = []
        event.listen(store._writing, "begin", lambda _connection: begun.append("begun"))
        with locked(engine):
            asked = [asyncio.create_task(store.write(adding(f"{name}"))) for name in range(5)]
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert begun == ["begun"]

    async def test_fail_each_for_itself(self, store: Store) -> None:
        def refused(connection: Connection, _attempt: int) -> None:
            add(connection, "half of it")
            raise KeyError("refused")

        one, other, third = await asyncio.gather(
            store.write(lambda c, _: add(c, "a")),
            store.write(refused),
            store.write(lambda c, _: add(c, "b")),
            return_exceptions=True,
        )
        assert (one, other.args, third) == (None, ("refused",), None)  # type: ignore[union-attr]
        assert await store.read(count) == 2

    async def test_are_all_tried_again_where_the_store_fails(self, store: Store) -> None:
        def failing(connection: Connection, attempt: int) -> int:
            add(connection, f"failing {attempt}")
            if not attempt:
                raise OperationalError("", {}, gone())
            return attempt

        def sound(connection: Connection, attempt: int) -> int:
            add(connection, f"sound {attempt}")
            return attempt

        assert list(await asyncio.gather(store.write(sound), store.write(failing))) == [1, 1]
        assert await store.read(count) == 2


async def test_the_log_tells_of_a_failure_without_its_parameters(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_connection: Connection, _attempt: int) -> None:
        raise OperationalError("INSERT", {"name": "Erika Mustermann"}, sqlite3.OperationalError("disk I/O error"))

    with pytest.raises((StoreUnavailable, OperationalError)):
        await store.write(work)
    assert "Erika" not in capsys.readouterr().out
