"""Brings a context's database to the tables that this code expects.

Two branches of migrations meet in every database: the runtime's (``runtime/migrations``) and the context's own
(``contexts/<context>/migrations``). Both go to their heads in one transaction, on both databases, so a migration is
there in full or not at all. Whoever migrates holds a lock that the end of its transaction or process gives back: of
several replicas that start together one works, the others wait and find nothing to do.

A database that is newer than this code is left alone and is good enough: migrations only expand while an older revision
may have to come back. A start with nothing to do reads one table and never loads Alembic.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from orderflow.runtime.database import is_infrastructure_failure, open_database, reading

if TYPE_CHECKING:
    from alembic.config import Config

PATIENCE_MS = 60_000
"""How long to wait for another replica's migration: it is over by then, or its transaction has been ended."""

_PACKAGE = Path(__file__).parents[1]
_ENVIRONMENT = _PACKAGE / "runtime" / "migrations" / "environment"

_LOCK = 0x6F72646572666C77
"""The number of PostgreSQL's advisory lock. Such locks are per database, and a context has one of its own."""

_REVISION = re.compile(r"^revision\b.*=\s*['\"](\w+)['\"]", re.MULTILINE)
_BEFORE = re.compile(r"^down_revision\b[^=]*=(.*)", re.MULTILINE)
_QUOTED = re.compile(r"['\"](\w+)['\"]")

_DUPLICATE = frozenset({"42P04", "23505"})
"""What PostgreSQL answers whoever comes second to create a database."""

_ALEMBIC = Lock()
"""Alembic's ``op`` and ``context`` are global to the process: threads that migrate several contexts take turns."""

_log = structlog.get_logger(__name__)


class MigrationFailed(Exception):  # noqa: N818 - says what happened
    """A database could not be brought to the tables that this code expects; nothing was changed."""


@dataclass(frozen=True)
class _Revisions:
    known: frozenset[str]
    heads: frozenset[str]


def migrate(context: str, url: str) -> None:
    """Bring the database of ``context`` to the newest migration of both branches, creating it if it is not there.

    Does nothing to a database that is there already or beyond.

    Raises:
        ValueError: there is no such context.
        MigrationFailed: a migration failed; the database is as it was.
        sqlalchemy.exc.DBAPIError: the database is away, or another replica's migration took too long.
    """
    revisions = _revisions(context)
    engine = open_database(url)
    try:
        current = _current_of(engine, url)
        if _done(context, current, revisions):
            return
        with _locked(engine) as connection:
            current = _current(connection)
            if not _done(context, current, revisions):
                _upgrade(context, connection)
                _log.info("database migrated", context=context, before=sorted(current), after=sorted(revisions.heads))
    finally:
        engine.dispose()


def at_head(engine: Engine, context: str) -> bool:
    """Tell whether the database has every migration that this code knows of; it may well have newer ones."""
    with reading(engine) as connection:
        current = _current(connection)
    revisions = _revisions(context)
    return current == revisions.heads or not current <= revisions.known


def create_database_if_missing(url: str) -> bool:
    """Create the PostgreSQL database that ``url`` names if its server has none; tell whether it was missing.

    The server's ``postgres`` database is asked.

    Raises:
        sqlalchemy.exc.DBAPIError: the server is away, or the user may not create databases.
    """
    target = make_url(url)
    engine = open_database(target.set(database="postgres").render_as_string(hide_password=False))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
            if connection.execute(exists, {"name": target.database}).first() is not None:
                return False
            name = connection.dialect.identifier_preparer.quote(target.database or "")
            return _created(connection, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    finally:
        engine.dispose()


def alembic_config(context: str, connection: Connection) -> "Config":
    """Return what Alembic's commands need to work on ``connection``, whose transaction they leave open."""
    from alembic.config import Config  # noqa: PLC0415 - 150 ms that most starts do not need

    config = Config()
    config.attributes["connection"] = connection
    config.set_main_option("script_location", _escaped(_ENVIRONMENT))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(_escaped(folder) for folder in _folders(context)))
    return config


def _done(context: str, current: frozenset[str], revisions: _Revisions) -> bool:
    newer = current - revisions.known
    if newer:
        _log.info("database is newer than this code and stays as it is", context=context, newer=sorted(newer))
    return bool(newer) or current == revisions.heads


def _upgrade(context: str, connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        with _ALEMBIC:
            command.upgrade(alembic_config(context, connection), "heads")
    except (CommandError, DBAPIError) as error:
        if is_infrastructure_failure(error):
            raise
        raise MigrationFailed(f"the database of {context} could not be migrated: {error}") from error


def _current_of(engine: Engine, url: str) -> frozenset[str]:
    try:
        with reading(engine) as connection:
            return _current(connection)
    except OperationalError:
        # PostgreSQL does not say in a code why it refuses a connection; its own catalogue tells.
        if engine.dialect.name != "postgresql":
            raise
    create_database_if_missing(url)
    with reading(engine) as connection:
        return _current(connection)


def _current(connection: Connection) -> frozenset[str]:
    if not inspect(connection).has_table("alembic_version"):
        return frozenset()
    return frozenset(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    patient = engine.connect().execution_options(orderflow_lock_patience=PATIENCE_MS / 1000)
    with patient as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            _lock_postgres(connection)
        yield connection


def _lock_postgres(connection: Connection) -> None:
    patience = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    # A table's lock is not waited for as long: everybody who wants the table would queue up behind.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{patience}'")


def _created(connection: Connection, statement: str) -> bool:
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in _DUPLICATE:
            raise
        return False
    return True


@cache
def _revisions(context: str) -> _Revisions:
    known: set[str] = set()
    before: set[str] = set()
    for folder in _folders(context):
        for file in folder.glob("*.py"):
            content = file.read_text(encoding="utf-8")
            known.update(_REVISION.findall(content))
            before.update(name for line in _BEFORE.findall(content) for name in _QUOTED.findall(line))
    return _Revisions(frozenset(known), frozenset(known - before))


def _folders(context: str) -> tuple[Path, Path]:
    own = _PACKAGE / "contexts" / context / "migrations"
    if not own.is_dir():
        raise ValueError(f"there is no context {context!r} with migrations")
    return _PACKAGE / "runtime" / "migrations", own


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
