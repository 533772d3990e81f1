"""A context's database: how it is opened, and what a failure of it means.

One code runs on SQLite (a file per context, WAL) and on PostgreSQL (a database per context). A transaction that may
write takes SQLite's write lock when it begins (``BEGIN IMMEDIATE``), never half-way: a reader that turns writer cannot
wait for the lock, it can only fail. What only reads goes through :func:`reading`: it sees one snapshot, blocks nobody,
and is refused its writes.

A failure is either the database's (away, locked, full, not migrated) or the data's. :func:`is_infrastructure_failure`
tells which: the first is no message's fault and ends when the database is well again, the second repeats for ever.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, bindparam, create_engine, event, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from orderflow.runtime.schema import allowed_revisions
from orderflow.runtime.statements import Statement

LOCK_PATIENCE_MS = 5_000
"""How long a statement waits for a lock, on both databases: a batch's transaction takes milliseconds."""

LOOK_AGAIN = 0.002
"""Seconds between looks at SQLite's lock: about as long as a short transaction holds it. SQLite's own waiting grows to
100 ms a look and starves whoever stands beside a busy writer: the order's processor then came to 4 transactions a
second, with this to 47. Its own waiting is therefore turned off but for readers. The connection option
``orderflow_lock_patience`` says how many seconds long."""

STATEMENT_LIMIT_MS = 30_000
"""PostgreSQL ends a statement that runs longer: with it goes a worker thread that would otherwise hang for good."""

IDLE_LIMIT_MS = 60_000
"""PostgreSQL ends a transaction whose process has stopped talking, so that a frozen process gives up its locks. It is
the rebalance time-out: by then somebody else has the partition."""

_SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}

_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": LOCK_PATIENCE_MS / 1000}
"""One thread decides, a few claim tasks and answer requests: who waits longer for a connection waits for a lock."""

_READING: dict[str, dict[str, Any]] = {
    "sqlite": {"orderflow_reading": True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}

_SQLITE_DATA = frozenset({1, 18, 19, 20, 21, 25})
"""ERROR, TOOBIG, CONSTRAINT, MISMATCH, MISUSE, RANGE: every other code is about the file, its locks or its disk."""

_SQLITE_MISSING = ("no such table", "no such column", "has no column named")

_POSTGRES_CLASSES = ("08", "28", "3D", "3F", "40", "53", "57", "58", "F0", "XX")
"""Connection, authorization, catalog, schema, rollback, resources, intervention, system, configuration, internal."""

_POSTGRES_STATES = frozenset(
    {
        "25006",  # read-only transaction: the server has become a standby
        "25P03",  # idle in transaction for too long: this process was frozen
        "26000",  # prepared statement unknown: a pooler gave the session to somebody else
        "42501",  # insufficient privilege
        "42703",  # undefined column: not migrated
        "42P01",  # undefined table: not migrated
        "55006",  # object in use
        "55P03",  # lock not available
    }
)


_ALLOWED = Statement(
    select(allowed_revisions.c.revision)
    .where(allowed_revisions.c.revision == bindparam("at_revision"))
    .with_for_update(read=True, key_share=True)
)


class _Waiting(threading.local):
    refused = False


_waiting = _Waiting()


class RevisionRemoved(Exception):  # noqa: N818 - a condition that is expected and answered, not a fault
    """This revision is not among the context's allowed ones: it may write nothing any more, and leaves."""


def open_database(url: str, durability: str = "normal") -> Engine:
    """Return an engine on the context's database; nothing is connected yet.

    Args:
        url: ``sqlite:///path`` (the file's folders are created) or ``postgresql+psycopg://...``. What its query says
            goes before the settings chosen here. PostgreSQL's may name a folder in ``credentials``, with the files
            ``username`` and ``password``: they are read for every connection, so a new password is used at once.
        durability: for SQLite: with ``normal`` a commit survives the end of the process, however sudden; with
            ``full`` the loss of power too, at the price of a disk flush per commit. PostgreSQL goes by its own
            ``synchronous_commit``.

    Raises:
        ValueError: the URL names no such database, or the durability is not one of the two.
    """
    if durability not in _SYNCHRONOUS:
        raise ValueError(f"durability is one of {', '.join(_SYNCHRONOUS)}, got {durability!r}")
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed, _SYNCHRONOUS[durability])
        case "postgresql":
            return _open_postgres(parsed)
        case other:
            raise ValueError(f"a database is sqlite or postgresql, got {other!r}")


def in_memory(url: URL) -> bool:
    """Tell whether ``url`` names a database that lives in this process's memory: SQLite's memdb, for simulations.

    Its connections share it, with the locks of a file, for as long as one of them is open.
    """
    return url.query.get("vfs") == "memdb"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees one snapshot, takes no write lock and refuses to write."""
    with engine.connect().execution_options(**_READING[engine.dialect.name]) as connection:
        connection.begin()
        yield connection


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let SQLite's transactions of this thread begin at once, or fail (see :func:`is_locked`)."""
    _waiting.refused = True
    try:
        yield
    finally:
        _waiting.refused = False


def is_locked(error: BaseException) -> bool:
    """Tell whether a statement gave up waiting for somebody else's lock."""
    orig = getattr(error, "orig", None)
    name = getattr(orig, "sqlite_errorname", None) or ""
    return name.startswith("SQLITE_BUSY") or getattr(orig, "sqlstate", None) == "55P03"


def assert_allowed(connection: Connection, revision: str) -> None:
    """Make sure that ``revision`` may write, and stays allowed until this transaction ends.

    Raises:
        RevisionRemoved: it may not.
    """
    if not _ALLOWED.rows(connection, {"at_revision": revision}):
        raise RevisionRemoved(f"revision {revision!r} is not among the allowed ones of this database")


def allow_revision(connection: Connection, revision: str, at: datetime) -> None:
    """Let ``revision`` write, from ``at`` on; one that is allowed already keeps its time."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(allowed_revisions).values(revision=revision, since=at).on_conflict_do_nothing())


def is_infrastructure_failure(error: BaseException) -> bool:
    """Tell whether ``error`` is the database's rather than the data's.

    True where the database is away, locked, full, broken, not migrated, or gave the transaction up for another one's
    sake; False for what the same statement with the same data would meet again. Takes SQLAlchemy's errors as well as
    the drivers' own.
    """
    if isinstance(error, PoolTimeout | PendingRollbackError | OSError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and _is_drivers_failure(error.orig))
    return _is_drivers_failure(error)


def _is_drivers_failure(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF not in _SQLITE_DATA or any(phrase in str(error) for phrase in _SQLITE_MISSING)
    if type(error).__module__.partition(".")[0] != "psycopg":
        return False
    state = getattr(error, "sqlstate", None)
    if state is None:
        # The server did not say it: the connection broke, or never came about.
        return any(base.__name__ == "OperationalError" for base in type(error).__mro__)
    return state in _POSTGRES_STATES or state.startswith(_POSTGRES_CLASSES)


def _open_sqlite(url: URL, synchronous: str) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError("a SQLite database needs a file: several processes share it")
    if not in_memory(url):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # Transactions begin where the listener below says, not where Python's driver would guess.
    patience = float(str(url.query.get("timeout", LOCK_PATIENCE_MS / 1000)))
    url = url.difference_update_query(["timeout"])
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": 0}, **_POOL)

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        if not in_memory(url):
            _write_ahead(cursor)
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # Who writes the 2,000th page of the log carries them over: 8 MB, some ten milliseconds.
        cursor.execute("PRAGMA wal_autocheckpoint = 2000")
        cursor.execute("PRAGMA cache_size = -16000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        try:
            options = connection.get_execution_options()
            if options.get("orderflow_reading"):
                connection.info["reading"] = True
                connection.exec_driver_sql("PRAGMA query_only = ON")
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_PATIENCE_MS}")
                connection.exec_driver_sql("BEGIN DEFERRED")
            else:
                _begin_writing(connection, options.get("orderflow_lock_patience", patience))
        except BaseException:
            # SQLAlchemy believes it has begun: what this connection executed next would commit by itself.
            connection.close()
            raise

    @event.listens_for(engine, "reset")
    def allow_writes(connection: DBAPIConnection, record: ConnectionPoolEntry, _state: object) -> None:
        if record.info.pop("reading", False):
            cursor = connection.cursor()
            cursor.execute("PRAGMA query_only = OFF")
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.close()

    return engine


def _begin_writing(connection: Connection, patience: float) -> None:
    """Take SQLite's write lock, looking every :data:`LOOK_AGAIN` seconds whether it has come free."""
    driver = connection.connection.driver_connection
    assert driver is not None
    deadline = time.monotonic() + (0 if _waiting.refused else patience)
    while time.monotonic() < deadline:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                break
            time.sleep(LOOK_AGAIN)
        else:
            return
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _write_ahead(cursor: DBAPICursor) -> None:
    # SQLite does not wait where two processes turn a new file's log on at once: one of them is refused.
    deadline = time.monotonic() + LOCK_PATIENCE_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _open_postgres(url: URL) -> Engine:
    settings = {
        "application_name": "orderflow",
        "connect_timeout": 5,
        # A peer that was cut off is noticed within 10 s, not after the kernel's quarter of an hour.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "options": (
            f"-c statement_timeout={STATEMENT_LIMIT_MS} -c lock_timeout={LOCK_PATIENCE_MS}"
            f" -c idle_in_transaction_session_timeout={IDLE_LIMIT_MS}"
        ),
    }
    # No ping before use: a lost connection fails one batch, which is read again, and empties the pool.
    folder = url.query.get("credentials")
    url = url.set(drivername="postgresql+psycopg").difference_update_query(["credentials"])
    engine = create_engine(url, connect_args=_unless_said(url, settings), use_native_hstore=False, **_POOL)
    if isinstance(folder, str):
        _read_credentials(engine, Path(folder))
    return engine


def _read_credentials(engine: Engine, folder: Path) -> None:
    @event.listens_for(engine, "do_connect")
    def read(_dialect: object, _record: object, _arguments: object, settings: dict[str, Any]) -> None:
        settings["user"] = (folder / "username").read_text(encoding="utf-8").strip()
        settings["password"] = (folder / "password").read_text(encoding="utf-8").strip()


def _unless_said(url: URL, settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in url.query}
