"""Statements that are compiled once and run through the driver: the same results and failures as SQLAlchemy's own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, bindparam, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError

from orderflow.runtime.columns import Moment
from orderflow.runtime.database import open_database
from orderflow.runtime.dead_letters import verdict_of
from orderflow.runtime.statements import Statement, _Compiled, _padded

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("at", Moment, nullable=True),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
INSERT = Statement(things.insert())
NAMED = Statement(select(things.c.name, things.c.number).where(things.c.name.in_(bindparam("names", expanding=True))))
RAISE = Statement(
    things.update()
    .where(things.c.name.in_(bindparam("names", expanding=True)), things.c.number < 10)
    .values(number=bindparam("to"))
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/things.sqlite")
    with engine.begin() as connection:
        metadata.create_all(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


def rows(*names: str) -> list[dict[str, object]]:
    return [{"name": name, "number": number, "at": NOON} for number, name in enumerate(names)]


def test_parameters_are_converted_as_their_columns_types_say(connection: Connection) -> None:
    assert INSERT.run_each(connection, rows("a", "b")) == 2
    assert connection.execute(select(things.c.at).where(things.c.name == "a")).scalar() == NOON


@pytest.mark.parametrize("number", range(1, 10))
def test_a_list_of_any_length_finds_its_members_and_no_others(connection: Connection, number: int) -> None:
    names = [f"n{each}" for each in range(10)]
    INSERT.run_each(connection, rows(*names))
    found = NAMED.rows(connection, {"names": names[:number]})
    assert sorted(found) == [(name, index) for index, name in enumerate(names[:number])]


def test_a_statements_own_constants_count_beside_the_parameters(connection: Connection) -> None:
    INSERT.run_each(connection, [*rows("a", "b"), {"name": "c", "number": 11, "at": None}])
    assert RAISE.run(connection, {"names": ["a", "b", "c"], "to": 5}) == 2
    assert sorted(NAMED.rows(connection, {"names": ["a", "b", "c"]})) == [("a", 5), ("b", 5), ("c", 11)]


def test_what_it_does_belongs_to_the_transaction(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        INSERT.run_each(connection, rows("a"))
        transaction.rollback()
    with engine.begin() as connection:
        assert NAMED.rows(connection, {"names": ["a"]}) == []


def test_a_row_that_is_there_already_is_an_integrity_error(connection: Connection) -> None:
    INSERT.run_each(connection, rows("a"))
    with pytest.raises(IntegrityError) as caught:
        INSERT.run_each(connection, rows("a"))
    assert "things" in str(caught.value)
    assert "12:00" not in str(caught.value), "an error quotes no parameters"


def test_a_table_that_is_missing_is_an_operational_error(engine: Engine) -> None:
    with engine.begin() as connection:
        metadata.drop_all(connection)
        with pytest.raises(OperationalError):
            NAMED.rows(connection, {"names": ["a"]})


def test_what_a_query_returns_is_converted_as_its_columns_types_say(connection: Connection) -> None:
    INSERT.run_each(connection, rows("a"))
    assert Statement(select(things.c.at, things.c.name)).rows(connection, {}) == [(NOON, "a")]


@given(st.lists(st.text(), min_size=1))
def test_padding_adds_no_member_and_ends_at_a_power_of_two(values: list[str]) -> None:
    padded = _padded(values)
    assert padded[: len(values)] == values
    assert set(padded) == set(values)
    assert len(padded) & (len(padded) - 1) == 0
    assert len(padded) < 2 * len(values)


def test_on_postgresql_parameters_go_by_name() -> None:
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    compiled = _Compiled(RAISE._statement, dialect, {"names": ["", ""], "to": 0})
    bound = compiled.bind({"names": ["a", "b"], "to": 5})
    assert sorted(map(str, bound.values())) == ["10", "5", "a", "b"]
    assert all(f"%({name})s" in compiled.text for name in bound)


def test_a_refusal_is_said_to_have_happened_where_the_statement_was_asked_for(connection: Connection) -> None:
    def store_the_same_twice() -> None:
        INSERT.run_each(connection, rows("a", "a"))

    with pytest.raises(IntegrityError) as refused:
        store_the_same_twice()
    assert verdict_of(refused.value, "data-error").reason == "IntegrityError at test_statements.py:store_the_same_twice"
