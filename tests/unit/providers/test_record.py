import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event, inspect

from orderflow.providers.protocol import ProviderAnswer, Unavailable, Unclear
from orderflow.providers.record import Record, Store, create_schema, records
from orderflow.runtime.database import open_database

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def made(key: str = "k", operation: str = "charge", **changes: object) -> Record:
    values: dict[str, object] = {"provider": "card", "subject": "k", "status": "succeeded", "at": NOON, **changes}
    return Record(key=key, operation=operation, **values)  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/provider.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = Store(url)
    yield store
    store.close()


async def write(store: Store, record: Record) -> Record:
    return await store.settle(record.provider, record.operation, record.key, record.subject, lambda _known: record)


async def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    record = made(
        at=datetime(2025, 1, 1, 13, 30, 0, 123456, tzinfo=timezone(timedelta(hours=1))),
        reference="ch_1",
        detail={"reason": "ünïcode"},
        amount=Decimal("9999999999.99"),
        order_id="order-1",
    )
    await write(store, record)
    found = await store.find("card", "charge", "k")
    assert found == record
    assert found is not None
    assert found.answer == ProviderAnswer(status="succeeded", reference="ch_1", detail={"reason": "ünïcode"})


async def test_what_was_never_asked_is_not_found(store: Store) -> None:
    await write(store, made())
    assert await store.find("card", "charge", "other") is None
    assert await store.find("card", "refund", "k") is None
    assert await store.find("carrier", "charge", "k") is None


async def test_the_first_record_under_a_key_stays(store: Store) -> None:
    first = made(status="declined")
    await write(store, first)
    assert await write(store, made(status="succeeded")) == first
    assert await store.find("card", "charge", "k") == first


async def test_a_decision_sees_what_is_recorded_on_its_subject_alone(store: Store) -> None:
    seen: list[Sequence[Record]] = []

    def decide(known: Sequence[Record]) -> Record:
        seen.append(known)
        return made("r", "refund")

    charge = await write(store, made())
    await write(store, made("other", subject="other"))
    await write(store, made(provider="carrier"))
    await store.settle("card", "refund", "r", "k", decide)
    assert seen == [[charge]]


async def test_what_a_decision_raises_is_passed_on_and_nothing_is_written(store: Store) -> None:
    def decide(_known: Sequence[Record]) -> Record:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.settle("card", "charge", "k", "k", decide)
    assert await store.find("card", "charge", "k") is None


async def test_records_outlive_the_store_that_wrote_them(url: str) -> None:
    before = Store(url)
    await write(before, made())
    before.close()
    after = Store(url)
    assert await after.find("card", "charge", "k") == made()
    after.close()


async def test_stores_opened_at_once_agree_on_one_record_per_key(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    asks = [
        write(store, made(str(key), reference=f"{number}")) for key in range(10) for number, store in enumerate(stores)
    ]
    answers = await asyncio.gather(*asks)
    assert len({(record.key, record.reference) for record in answers}) == 10
    for store in stores:
        store.close()


async def test_one_decision_at_a_time_on_a_subject(url: str) -> None:
    stores = [Store(url) for _ in range(4)]

    async def ask(number: int) -> Record:
        def decide(known: Sequence[Record]) -> Record:
            return made(str(number), detail={"place": str(len(known))})

        return await stores[number % 4].settle("card", "charge", str(number), "k", decide)

    answers = await asyncio.gather(*(ask(number) for number in range(20)))
    assert sorted(int(record.detail["place"]) for record in answers) == list(range(20))
    for store in stores:
        store.close()


async def test_all_records_are_read_in_order(store: Store, url: str) -> None:
    written = [
        await write(store, record)
        for record in (made("b"), made("a"), made("a", "refund"), made("z", "book", provider="carrier"))
    ]
    engine = open_database(url)
    assert list(records(engine)) == sorted(written, key=lambda record: (record.provider, record.operation, record.key))
    engine.dispose()


async def test_a_store_that_is_away_makes_calls_unclear_and_questions_unavailable_until_it_is_back(
    tmp_path: Path,
) -> None:
    in_the_way = tmp_path / "provider.db"
    in_the_way.mkdir()
    store = Store(f"sqlite:///{in_the_way}")
    with pytest.raises(Unclear):
        await write(store, made())
    with pytest.raises(Unavailable):
        await store.find("card", "charge", "k")
    in_the_way.rmdir()
    assert await write(store, made()) == made()
    store.close()


async def test_a_record_that_cannot_be_is_a_bug_and_not_weather(store: Store) -> None:
    with pytest.raises(Exception, match="offset") as raised:
        await write(store, made(at=datetime(2025, 1, 1)))
    assert not isinstance(raised.value, Unclear | Unavailable)


def test_a_new_file_that_somebody_else_is_creating_is_waited_for(url: str) -> None:
    engine = open_database(url)
    refusals = iter(range(2))

    @event.listens_for(engine, "do_connect")
    def refuse(*_arguments: object) -> None:
        if next(refusals, None) is not None:
            raise sqlite3.OperationalError("database is locked")

    create_schema(engine)
    create_schema(engine)
    assert inspect(engine).get_table_names() == ["provider_records"]
    engine.dispose()


def test_closing_twice_or_unused_is_harmless(url: str) -> None:
    store = Store(url)
    store.close()
    store.close()
