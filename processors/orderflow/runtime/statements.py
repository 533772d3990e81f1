"""Statements of the hot path: compiled once per dialect, then run through the driver's own cursor.

A transaction of one message runs some ten statements. Through SQLAlchemy's execution each costs three times what SQLite
takes for it; here it costs a look-up and the conversion of its parameters. What differs is how a statement is run, not
in which transaction, nor what a failure looks like: the driver's error arrives as the SQLAlchemy error that it would
have been.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import ReturnsRows

Convert = Callable[[Any], Any]
Values = Mapping[str, Any]


class _Compiled:
    """A statement's text for one dialect, one set of parameters, and one length of each list among them.

    Args:
        example: parameters whose names, and whose lists' lengths, are those of all later calls.
    """

    def __init__(self, statement: ClauseElement, dialect: Dialect, example: Values) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(example), for_executemany=True)
        assert isinstance(compiled, SQLCompiler)
        expanded = compiled.construct_expanded_state(dict(example))
        self.text = expanded.statement
        self._lists = {name: members for name, members in expanded.parameter_expansion.items() if name in example}
        given = set(example).union(*self._lists.values())
        self._constants = {name: value for name, value in expanded.parameters.items() if name not in given}
        conversions = {name: _conversion(bind, dialect) for name, bind in compiled.binds.items()}
        for name, members in expanded.parameter_expansion.items():
            conversions.update(dict.fromkeys(members, conversions[name]))
        self._positions = expanded.positiontup
        columns = statement.exported_columns if isinstance(statement, ReturnsRows) else ()
        self._results = [column.type.dialect_impl(dialect) for column in columns]
        self._dialect = dialect
        self._reads: list[Convert | None] | None = None
        self._conversions = [(name, conversions.get(name)) for name in self._positions or expanded.parameters]

    def bind(self, values: Values) -> Any:
        """Return ``values`` as the driver wants them."""
        if self._lists or self._constants:
            values = {**self._constants, **values, **self._members(values)}
        if self._positions is not None:
            return [convert(values[name]) if convert else values[name] for name, convert in self._conversions]
        return {name: convert(values[name]) if convert else values[name] for name, convert in self._conversions}

    def read(self, rows: Sequence[Sequence[Any]], description: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        """Return a query's rows with their values as their columns' types have them."""
        if self._reads is None:
            self._reads = [
                kind.result_processor(self._dialect, column[1])
                for kind, column in zip(self._results, description or (), strict=False)
            ]
        if not any(self._reads):
            return [tuple(row) for row in rows]
        return [
            tuple(convert(value) if convert else value for value, convert in zip(row, self._reads, strict=True))
            for row in rows
        ]

    def _members(self, values: Values) -> Values:
        return {
            member: value
            for name, members in self._lists.items()
            for member, value in zip(members, values[name], strict=True)
        }


def _conversion(bind: BindParameter[Any], dialect: Dialect) -> Convert | None:
    return bind.type.dialect_impl(dialect).bind_processor(dialect)


class Statement:
    """A Core statement whose parameters are given by name; those of an ``IN`` (expanding) as lists, never empty."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[tuple[Any, ...], _Compiled] = {}

    def rows(self, connection: Connection, values: Values) -> list[tuple[Any, ...]]:
        """Run a query, or a statement that returns what it has touched, and return its rows."""
        values, compiled = self._prepare(connection, values)
        with _Cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bind(values))
            return compiled.read(cursor.fetchall(), cursor.description)

    def parts(self, connection: Connection, values: Values, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and yield its rows, up to ``size`` in memory at a time where the driver fetches them so."""
        values, compiled = self._prepare(connection, values)
        with _Cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bind(values))
            while rows := cursor.fetchmany(size):
                yield compiled.read(rows, cursor.description)

    def run(self, connection: Connection, values: Values) -> int:
        """Run a statement and return how many rows it has touched."""
        values, compiled = self._prepare(connection, values)
        with _Cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bind(values))
            return int(cursor.rowcount)

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run a statement once per element of ``rows``, at least one, and return how many rows it has touched."""
        _, compiled = self._prepare(connection, rows[0])
        with _Cursor(connection, compiled.text) as cursor:
            cursor.executemany(compiled.text, [compiled.bind(values) for values in rows])
            return int(cursor.rowcount)

    def _prepare(self, connection: Connection, values: Values) -> tuple[Values, _Compiled]:
        dialect = connection.dialect
        shape: list[Any] = [dialect.name]
        for name, value in values.items():
            shape.append(name)
            if isinstance(value, list):
                padded = _padded(value)
                values = {**values, name: padded}
                shape.append(len(padded))
        known = self._compiled.get(key := tuple(shape))
        if known is None:
            known = self._compiled[key] = _Compiled(self._statement, dialect, values)
        return values, known


def _padded(values: list[Any]) -> list[Any]:
    """Return ``values`` with the last repeated up to a power of two: so many texts do drivers keep prepared."""
    return values + [values[-1]] * ((1 << (len(values) - 1).bit_length()) - len(values))


def run_text(connection: Connection, text: str) -> None:
    """Run a statement that has neither parameters nor results."""
    with _Cursor(connection, text) as cursor:
        cursor.execute(text)


class _Cursor:
    """The driver's cursor, whose errors leave as SQLAlchemy's; one that means a lost connection empties the pool."""

    def __init__(self, connection: Connection, text: str) -> None:
        self._connection = connection
        self._text = text
        self._cursor: DBAPICursor | None = None

    def __enter__(self) -> DBAPICursor:
        self._cursor = self._connection.connection.cursor()
        return self._cursor

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        assert self._cursor is not None
        dialect = self._connection.dialect
        base = dialect.loaded_dbapi.Error
        if not isinstance(error, base):
            self._cursor.close()
            return
        is_lost = dialect.is_disconnect(error, self._connection.connection.dbapi_connection, self._cursor)
        if is_lost:
            self._connection.invalidate(error)
            self._connection.engine.dispose()
        raise DBAPIError.instance(
            self._text, None, error, base, connection_invalidated=is_lost, dialect=dialect
        ) from error
