"""Reading whole databases: one snapshot each, rows in the order of their keys, a few at a time.

Rows of different databases are brought together by walking along them in the order of their keys, all at once. So a
verification needs neither memory for all orders nor a query per order. The order is that of code points, which every
database can give and Python agrees with.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Select, inspect

from orderflow.runtime.database import in_memory, reading
from orderflow.runtime.statements import Statement

T = TypeVar("T")
Query = Select[*tuple[Any, ...]]

AT_ONCE: Final = 2_000
"""Rows fetched at a time from each of some forty cursors."""

PATIENT: Final = ("statement_timeout", "idle_in_transaction_session_timeout")
"""Limits of PostgreSQL's that keep processors from hanging and would end a long look."""


class OutOfOrder(Exception):  # noqa: N818 - says what the rows are
    """A database gave rows in another order than that of their keys; what was joined to them cannot be trusted."""


class Sorted(Generic[T]):
    """Rows in the order of their keys, from one source or several, handed out key by key."""

    def __init__(self, *sources: Iterator[tuple[str, T]]) -> None:
        self._rows = merged(sources)
        self._next = next(self._rows, None)

    @property
    def head(self) -> str | None:
        """The key whose turn it is; ``None`` at the end."""
        return self._next[0] if self._next is not None else None

    def take(self, key: str) -> tuple[T, ...]:
        """Return the rows of ``key``, whose turn it is everywhere.

        Raises:
            OutOfOrder: the rows are not in order.
        """
        following = self._next
        if following is None or following[0] != key:
            return ()
        taken: list[T] = []
        while following is not None and following[0] == key:
            taken.append(following[1])
            following = next(self._rows, None)
        if following is not None and following[0] < key:
            raise OutOfOrder(f"{following[0]!r} came after {key!r}")
        self._next = following
        return tuple(taken)


def merged(sources: Sequence[Iterator[tuple[str, T]]]) -> Iterator[tuple[str, T]]:
    """Return the rows of all ``sources`` in the order of their keys, in which each of them is."""
    return sources[0] if len(sources) == 1 else heapq.merge(*sources, key=itemgetter(0))


def keys_of(streams: Sequence[Sorted[Any]]) -> Iterator[str]:
    """Yield every key of ``streams`` in its turn. Whoever is given one takes its rows from every stream."""
    while heads := [head for stream in streams if (head := stream.head) is not None]:
        yield min(heads)


class Walk:
    """A query whose rows come in the order of one column, their key. Built once: building costs as much as running.

    Args:
        key: the column; rows of one key come in the order of ``then``.
    """

    def __init__(self, query: Query, key: ColumnElement[str], *then: ColumnElement[Any]) -> None:
        # SQLite compares text by its code points anyway, and its driver hands rows on one by one.
        self._on_sqlite = Statement(query.order_by(key, *then))
        self._elsewhere = query.order_by(key.collate("C"), *then).execution_options(yield_per=AT_ONCE)
        self._names = tuple(query.exported_columns.keys())

    def rows(self, connection: Connection, **parameters: Any) -> Iterator[Sequence[Any]]:
        """Yield the rows, a part of them in memory at a time."""
        for part in self._parts(connection, parameters):
            yield from part

    def mappings(self, connection: Connection, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the same rows, each by the names of its columns."""
        for row in self.rows(connection, **parameters):
            yield dict(zip(self._names, row, strict=True))

    def _parts(self, connection: Connection, parameters: Mapping[str, Any]) -> Iterator[Sequence[Sequence[Any]]]:
        if connection.dialect.name == "sqlite":
            return self._on_sqlite.parts(connection, parameters, AT_ONCE)
        return connection.execute(self._elsewhere, parameters).partitions()


class Unreachable(Exception):  # noqa: N818 - says what the database is
    """A database, or a table of it, is not there; the text is a sentence."""


def snapshot(stack: ExitStack, engine: Engine, tables: Iterable[str]) -> Connection:
    """Return a connection that sees ``engine``'s database as it is now, until ``stack`` is left.

    Raises:
        Unreachable: the database is not there, or lacks one of ``tables``. None is created.
        sqlalchemy.exc.SQLAlchemyError: the database is away.
    """
    where = engine.url.render_as_string(hide_password=True)
    is_file = engine.dialect.name == "sqlite" and not in_memory(engine.url)
    if is_file and not Path(engine.url.database or "").is_file():
        raise Unreachable(f"is not there: {where}")
    connection = stack.enter_context(reading(engine))
    if connection.dialect.name == "postgresql":
        for limit in PATIENT:
            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
    # What is read first fixes what is seen from then on.
    lacking = sorted(set(tables) - set(inspect(connection).get_table_names()))
    if lacking:
        raise Unreachable(f"has no table {', '.join(lacking)}: {where}")
    return connection
