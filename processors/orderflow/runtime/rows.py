"""States as SQL rows: a key, a version, the state as JSON, and the columns that queries need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Integer,
    Table,
    Text,
    bindparam,
    select,
)

from orderflow.runtime.statements import Statement

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Versioned(Generic[T]):
    """A state and the version of its row; version 0 is a row that is not there yet."""

    version: int
    state: T


def state_columns() -> tuple[Column[Any], ...]:
    """Return the columns that every table of states has besides its key and its projected ones."""
    return (
        Column("version", Integer, nullable=False),
        Column("state_version", Integer, nullable=False),
        Column("data", Text, nullable=False),
    )


_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)


@dataclass(frozen=True)
class _Statements:
    """Built once per table: building a statement costs as much as running it. The maps are by whether to lock."""

    versions: Mapping[bool, Statement]
    states: Mapping[bool, Statement]
    insert: Statement
    update: Statement


def _ordered(connection: Connection, statement: Statement, keys: Iterable[str]) -> Iterable[Sequence[Any]]:
    ordered = sorted(set(keys))
    return statement.rows(connection, {"keys": ordered}) if ordered else ()


@dataclass(frozen=True)
class Rows(Generic[T]):
    """How states of one type are kept in ``table``.

    Attributes:
        table: has the column named by ``key``, :func:`state_columns`, and whatever ``columns`` projects.
        columns: what a state shows in columns of its own, for queries; never read back.
        state_version: that this code writes. A row of another one is refused, not guessed at.
    """

    table: Table
    key: str
    type: type[T]
    columns: Callable[[T], Mapping[str, Any]] = lambda _state: {}
    state_version: int = 1

    def encode(self, state: T) -> bytes:
        """Return the state as JSON; equal states give equal bytes."""
        return msgspec.json.encode(state)

    def decode(self, data: bytes | str) -> T:
        """Return the state that :meth:`encode` wrote."""
        return msgspec.json.decode(data, type=self.type)

    def versions(self, connection: Connection, keys: Iterable[str], *, lock: bool) -> dict[str, int]:
        """Return the version of each row that is there; with ``lock`` nobody else changes them until the commit."""
        return {row[0]: row[1] for row in _ordered(connection, self._statements.versions[lock], keys)}

    def load(self, connection: Connection, keys: Iterable[str], *, lock: bool) -> dict[str, Versioned[T]]:
        """Return the rows that are there, locked in the order of their keys if ``lock``.

        Raises:
            UnknownStateVersion: a row was written by a revision whose states this one cannot read.
        """
        found: dict[str, Versioned[T]] = {}
        for key, version, state_version, data in _ordered(connection, self._statements.states[lock], keys):
            if state_version != self.state_version:
                raise UnknownStateVersion(
                    f"{self.table.name} {key} has state version {state_version}; this code reads {self.state_version}"
                )
            found[key] = Versioned(version, self.decode(data))
        return found

    def insert(self, connection: Connection, states: Mapping[str, Versioned[T]]) -> None:
        """Insert rows that are not there yet.

        Raises:
            sqlalchemy.exc.IntegrityError: somebody else has inserted one of them.
        """
        if states:
            self._statements.insert.run_each(
                connection, [self._values(key, row) for key, row in sorted(states.items())]
            )

    def update(self, connection: Connection, states: Mapping[str, Versioned[T]]) -> None:
        """Write the given states over the version before theirs.

        Raises:
            StaleState: a row has another version than the one that was read.
        """
        if not states:
            return
        values = [
            {**self._values(key, row), "at_key": key, "at_version": row.version - 1}
            for key, row in sorted(states.items())
        ]
        changed = self._statements.update.run_each(connection, values)
        if changed != len(values):
            raise StaleState(f"{len(values) - changed} rows of {self.table.name} had moved on")

    @cached_property
    def _statements(self) -> "_Statements":
        table = self.table
        key = table.c[self.key]
        versions = select(key, table.c.version).where(key.in_(_KEYS)).order_by(key)
        states = select(key, table.c.version, table.c.state_version, table.c.data).where(key.in_(_KEYS)).order_by(key)
        return _Statements(
            versions={False: Statement(versions), True: Statement(versions.with_for_update())},
            states={False: Statement(states), True: Statement(states.with_for_update())},
            insert=Statement(table.insert()),
            update=Statement(
                table.update().where(key == bindparam("at_key"), table.c.version == bindparam("at_version"))
            ),
        )

    def _values(self, key: str, row: Versioned[T]) -> dict[str, Any]:
        return {
            **self.columns(row.state),
            self.key: key,
            "version": row.version,
            "state_version": self.state_version,
            "data": self.encode(row.state).decode(),
        }


class StaleState(Exception):  # noqa: N818 - a condition that is expected and answered, not a fault
    """A row has changed since it was read: evict it, read it, decide again."""


class UnknownStateVersion(Exception):  # noqa: N818
    """A row was written by a revision whose states this one cannot read."""
