"""What a context's database needs before a process may work on it: its tables, and leave for the revision."""

from datetime import datetime

from sqlalchemy import Engine, func, select

from orderflow.runtime.database import allow_revision
from orderflow.runtime.migrate import migrate
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


def allow(context: str, url: str, revision: str, engine: Engine, now: datetime) -> None:
    """Migrate the database and let ``revision`` write, as the owner of the system has decided."""
    migrate(context, url)
    with engine.begin() as connection:
        allow_revision(connection, revision, now)
