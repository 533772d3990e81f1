"""The databases of a deployment, for somebody who looks into them or writes to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from orderflow.client.failures import Failure
from orderflow.runtime.database import open_database
from orderflow.spec.deployment import Deployment


@contextmanager
def database(deployment: Deployment, context: str) -> Iterator[Engine]:
    """Give the database of ``context``.

    Raises:
        Failure: it is not there, is away, or has not the tables that this code expects.
    """
    url = make_url(deployment.database_url(context))
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise Failure(f"there is no database of {context} yet")
    engine = open_database(deployment.database_url(context), deployment.resource.spec.database.durability)
    try:
        yield engine
    except SQLAlchemyError as error:
        # The driver's text may quote what people have sent; its first line does not.
        reason = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        raise Failure(f"the database of {context} cannot be used: {reason}") from None
    finally:
        engine.dispose()
