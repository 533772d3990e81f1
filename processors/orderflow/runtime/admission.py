"""Whether this process may be in its consumer group, and when.

A process of a revision that has no share stays outside: it sees that its database, its broker and every topic answer,
says that it is ready, and waits. It comes in when there is a share for its revision and its revision may write; one
that may not is not refused for good, because a rollback can need it again. With another share it joins anew, and
without one it leaves and waits again.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from orderflow.runtime.database import is_infrastructure_failure, reading
from orderflow.runtime.health import Check
from orderflow.runtime.schema import allowed_revisions
from orderflow.runtime.share import Share
from orderflow.runtime.telemetry import Telemetry

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.5
"""Seconds between looks at the share: small beside a rebalance, and a look is a small file."""
OUT_OF_THE_GROUP = 75
"""Exit status of a process that has left its group and is to wait outside: it begins anew (EX_TEMPFAIL)."""


class Admission:
    """Watches the share of one process's revision.

    Attributes:
        waiting: why it is outside; empty inside.
    """

    def __init__(self, share: Share, engine: Engine, revision: str, telemetry: Telemetry) -> None:
        self.share = share
        self.waiting = ""
        self._engine = engine
        self._revision = revision
        self._telemetry = telemetry
        self._show()

    async def granted(self, works: Callable[[], Awaitable[None]]) -> None:
        """Return when the process may join: at once, unless its share is nothing.

        Args:
            works: returns when all that joining needs was seen to work. It must write nothing.
        """
        if not self.share.is_nothing:
            self._telemetry.member.set(1)
            return
        await works()
        log.info("waiting outside the group", revision=self._revision)
        while why := await self._why_not():
            self.waiting = why
            await asyncio.sleep(LOOK_EVERY)
            self.share.look()
            self._show()
        # From here on others have to reckon with it.
        self._telemetry.member.set(1)
        self.waiting = ""

    async def _why_not(self) -> str:
        if self.share.is_nothing:
            return "no share of the partitions"
        try:
            return "" if await asyncio.to_thread(self.may_write) else "the revision may not write"
        except SQLAlchemyError as error:
            if not is_infrastructure_failure(error):
                raise
            return "the database is away"

    def may_write(self) -> bool:
        """Tell whether the database's owner lets the revision write; raises what the database raises."""
        with reading(self._engine) as connection:
            asked = select(allowed_revisions.c.revision).where(allowed_revisions.c.revision == self._revision)
            return connection.execute(asked).first() is not None

    def withdrawn(self, rejoin: Callable[[], None]) -> bool:
        """Look at the share: with another one ``rejoin`` is called; tell whether there is none any more."""
        if not self.share.look():
            return False
        self._show()
        log.info("another share", partitions=self.share.limit)
        if self.share.is_nothing:
            return True
        rejoin()
        return False

    def left(self) -> None:
        """Say that the process is out of its group."""
        self._telemetry.member.set(0)

    def check(self) -> Check:
        """Say that being outside is how it should be."""
        return Check("outside the group", ok=True, detail=self.waiting)

    def _show(self) -> None:
        self._telemetry.share.set(-1 if self.share.limit is None else self.share.limit)
