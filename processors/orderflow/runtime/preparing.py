"""What a context's database needs before a process may work on it: its tables, and leave for the revision."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Engine, delete, func, select

from orderflow.runtime.database import allow_revision
from orderflow.runtime.migrate import at_head, migrate
from orderflow.runtime.schema import allowed_revisions


def prepare(context: str, url: str, revision: str, engine: Engine, now: datetime) -> None:
    """Migrate the database; let ``revision`` write if the database has never known any other.

    A revision that was removed stays removed: it is for its owner to allow it again, not for its processes.

    Raises:
        MigrationFailed: the tables could not be made; the database is as it was.
        sqlalchemy.exc.DBAPIError: the database is away.
    """
    migrate(context, url)
    with engine.begin() as connection:
        if not connection.scalar(select(func.count()).select_from(allowed_revisions)):
            allow_revision(connection, revision, now)


class NotMigrated(OSError):  # noqa: N818 - a condition that ends by itself
    """The database is not there, or older than this code, and somebody else migrates it: wait."""


def wait_for_migration(context: str, engine: Engine) -> None:
    """Make sure that somebody has migrated the database as far as this code needs, or further.

    Raises:
        NotMigrated: not yet.
        sqlalchemy.exc.DBAPIError: the database is away.
    """
    if not at_head(engine, context):
        raise NotMigrated("not migrated yet: this process waits for the job that does it")


def allow_only(context: str, url: str, revisions: Collection[str], engine: Engine, now: datetime) -> None:
    """Migrate the database and let ``revisions`` write and nobody else, as the owner of the system has decided.

    Decisions under way hold their revision's row: this waits for them, and what comes after them is refused.
    """
    migrate(context, url)
    with engine.begin() as connection:
        connection.execute(delete(allowed_revisions).where(allowed_revisions.c.revision.not_in(revisions)))
        for revision in sorted(revisions):
            allow_revision(connection, revision, now)


def allow(context: str, url: str, revision: str, engine: Engine, now: datetime) -> None:
    """Migrate the database and let ``revision`` write, as the owner of the system has decided."""
    migrate(context, url)
    with engine.begin() as connection:
        allow_revision(connection, revision, now)
