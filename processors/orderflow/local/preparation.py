"""What has to be done before the first processor starts: databases migrated, topics created.

Each is a process of its own, forked like the others, because what it needs is loaded there already. It leaves with 0,
or with one sentence at the end of its log.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orderflow.local.errors import LocalError
from orderflow.spec.deployment import Deployment, read_deployment
from orderflow.spec.resource import CONTEXTS


def migrate(arguments: Sequence[str]) -> int:
    """Bring every context's database up to date, for this revision; ``arguments`` is the deployment's file."""
    return _done(_migrate, arguments)


def create_topics(arguments: Sequence[str]) -> int:
    """Wait for the broker and create what topics are missing; ``arguments`` is the deployment's file."""
    return _done(_create_topics, arguments)


def _done(job: Callable[[Deployment], None], arguments: Sequence[str]) -> int:
    try:
        job(read_deployment(Path(arguments[0])))
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        sys.stdout.write(f"ERROR {reason}\n")
        return 1
    return 0


def _migrate(deployment: Deployment) -> None:
    from orderflow.assembly import prepare_databases  # noqa: PLC0415

    waiting = list(CONTEXTS)
    try:
        for name in prepare_databases(deployment):
            waiting.remove(name)
    except Exception as error:
        raise LocalError(f"the database of {waiting[0]} cannot be prepared: {error}") from error


def _create_topics(deployment: Deployment) -> None:
    from orderflow.assembly import all_contexts  # noqa: PLC0415
    from orderflow.local.topics import create_topics as create  # noqa: PLC0415
    from orderflow.runtime.faust_app import changelog_topics  # noqa: PLC0415

    contexts = all_contexts(deployment.resource).values()
    work = create(
        deployment.broker,
        prefix=deployment.topic_prefix,
        partitions=deployment.partitions,
        replication_factor=deployment.resource.spec.broker.replication_factor,
        compacted=[topic for context in contexts for topic in changelog_topics(context)],
    )
    asyncio.run(work)
