"""Verify a deployment: open what it names, check, and close."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, make_url

from orderflow.assembly import all_contexts
from orderflow.providers.simulated import store_urls
from orderflow.runtime.database import open_database
from orderflow.spec.deployment import Deployment
from orderflow.verification.report import Report, failed
from orderflow.verification.verifying import GRACE, verify


def verify_deployment(deployment: Deployment, *, online: bool, grace: float | None = None) -> Report:
    """Check every promise over the deployment's databases and its simulated providers' records.

    Args:
        online: whether the system is running: what is younger than ``grace`` seconds is left alone.
    """
    urls = {name: deployment.database_url(name) for name in all_contexts(deployment.resource)}
    missing = [name for name, url in urls.items() if not _is_there(url)]
    if missing:
        return failed(f"there is no database of {', '.join(missing)} yet")
    with ExitStack() as stack:
        databases = {name: stack.enter_context(_opened(url)) for name, url in urls.items()}
        stores = [url for url in store_urls(deployment.provider_record) if _is_there(url)]
        return verify(
            databases,
            [stack.enter_context(_opened(url)) for url in stores],
            all_contexts(deployment.resource),
            now=datetime.now(UTC),
            online=online,
            grace=GRACE if grace is None else timedelta(seconds=grace),
            topic_life=timedelta(days=deployment.resource.spec.retention.topics_days),
        )


def _is_there(url: str) -> bool:
    """Tell whether a database may be opened: SQLite would make an empty one of what is not there."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()
