"""The databases of a simulated system: real SQLite, in files or in memory, as new for each run within a millisecond.

Both kinds are opened by the runtime's own ``open_database``; the one in memory is SQLite's ``memdb``, which several
connections share, with the locks of a file. They are migrated once, and emptied for each run.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Engine, PoolProxiedConnection

from orderflow.providers import record
from orderflow.runtime.context import Context
from orderflow.runtime.database import allow_revision, open_database
from orderflow.runtime.migrate import migrate
from orderflow.simulation.contexts import contexts_of
from orderflow.simulation.life import Killed
from orderflow.spec.resource import CONTEXTS

Kind = Literal["file", "memory"]

PROVIDERS: Final = "providers"
"""The database in which the simulated outside keeps its record."""

NAMES: Final = (*CONTEXTS, PROVIDERS)

WITNESS: Final = "witness"
"""A table of each context's database: what only somebody who always looks can see. Each of its lines is a breach."""

_VERSION = """
    CREATE TRIGGER {table}_goes_back AFTER UPDATE OF version ON {table} WHEN NEW.version <> OLD.version + 1 BEGIN
        INSERT INTO witness VALUES (
            'version-goes-on: a row of {table} went from version ' || OLD.version || ' to ' || NEW.version
        );
    END
"""


def make_blanks(folder: Path, revision: str, at: datetime) -> None:
    """Write a migrated, empty database for each of :data:`NAMES` into ``folder``; ``revision`` may write there."""
    contexts = contexts_of(0.0)
    for name in NAMES:
        url = f"sqlite:///{folder / name}.sqlite"
        if name in CONTEXTS:
            migrate(name, url)
        engine = open_database(url)
        if name == PROVIDERS:
            record.create_schema(engine)
        else:
            with engine.begin() as connection:
                allow_revision(connection, revision, at)
                for statement in _witness(contexts[name]):
                    connection.exec_driver_sql(statement)
        engine.dispose()
        # A log beside the file would have to be copied with it, and memory has none.
        with sqlite3.connect(folder / f"{name}.sqlite") as driver:
            driver.execute("PRAGMA journal_mode = DELETE")
        driver.close()


def _witness(context: Context[Any]) -> Iterator[str]:
    yield f"CREATE TABLE {WITNESS} (what TEXT NOT NULL)"
    yield _VERSION.format(table=context.aggregate.table.name)
    if context.shared is not None:
        yield _VERSION.format(table=context.shared.rows.table.name)


class Store:
    """The databases of one run after another.

    Args:
        blanks: where :func:`make_blanks` has written.
        folder: where to keep the files, if they are files.
        kind: whether they are.

    Attributes:
        engines: by name, for the whole life of the store: compiled statements are kept from run to run.
        on_commit: told the database's name before each commit; returns ``lost`` or ``unclear`` to have it fail before
            or after it took place, ``crash-before`` or ``crash-after`` to end the process there; else nothing.
        committed: told the database's name after each commit.
    """

    def __init__(self, blanks: Path, folder: Path, kind: Kind) -> None:
        self.kind = kind
        urls = {name: _url(name, folder, kind) for name in NAMES}
        # These keep what is in memory there, and look without anybody noticing.
        self._eyes = {name: _connect(url) for name, url in urls.items()}
        self.urls = urls
        for name, eye in self._eyes.items():
            with closing(sqlite3.connect(blanks / f"{name}.sqlite")) as blank:
                blank.backup(eye)
        self._emptying = {name: tuple(_emptying(eye)) for name, eye in self._eyes.items()}
        self.engines: Mapping[str, Engine] = {name: open_database(url) for name, url in urls.items()}
        for name, engine in self.engines.items():
            self._watch(name, engine)
        self.on_commit: Callable[[str], str] = lambda _name: ""
        self.committed: Callable[[str], None] = lambda _name: None

    def reset(self) -> None:
        """Make every database as new.

        Rows go and tables stay: where a schema is written again, every connection prepares every statement again.
        """
        for name, eye in self._eyes.items():
            eye.execute("BEGIN IMMEDIATE")
            for statement, values in self._emptying[name]:
                eye.execute(statement, values)
            eye.execute("COMMIT")

    def peek(self, name: str, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Return what a query finds, beside all engines."""
        return self._eyes[name].execute(query, parameters).fetchall()

    def tell(self, name: str, statement: str, *parameters: object) -> None:
        """Execute a statement that is nobody's process's, and commit it."""
        self._eyes[name].execute(statement, parameters)
        self.committed(name)

    def close(self) -> None:
        """Let go of everything."""
        for engine in self.engines.values():
            engine.dispose()
        for eye in self._eyes.values():
            eye.close()

    def _watch(self, name: str, engine: Engine) -> None:
        commit = engine.dialect.do_commit

        def do_commit(connection: PoolProxiedConnection) -> None:
            fault = self.on_commit(name)
            if fault == "crash-before":
                raise Killed
            if fault == "lost":
                raise _gone()
            commit(connection)
            self.committed(name)
            if fault == "unclear":
                raise _gone()

        engine.dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]


def _emptying(blank: sqlite3.Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the statements, with their values, that bring a database back to what it is now."""
    tables = [name for (name,) in blank.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    for table in tables:
        yield f'DELETE FROM "{table}"', ()  # noqa: S608 - a name of our own schema
        for row in blank.execute(f'SELECT * FROM "{table}"').fetchall():  # noqa: S608
            yield f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', row  # noqa: S608


def _gone() -> sqlite3.OperationalError:
    """Return what the driver raises when the disk is away."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


def _url(name: str, folder: Path, kind: Kind) -> str:
    return f"sqlite:///{folder / name}.sqlite" if kind == "file" else f"sqlite:///file:/{name}?vfs=memdb&uri=true"


def _connect(url: str) -> sqlite3.Connection:
    path = url.removeprefix("sqlite:///")
    if path.startswith("file:"):
        return sqlite3.connect(path, uri=True, isolation_level=None, timeout=0)
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection
