"""Dead letters of other revisions, decided again by this one.

While two revisions share a group, a message that one gives up on says nothing by itself: it may be the message, it may
be the code. What this revision decides and the other did not is the other one's fault, and is shown as such; what
neither decides is the message's. Nothing is written by deciding again.

When a revision has been taken back and may not write any more, the letters that were its own fault are asked to be
replayed, as a person would ask, and the owner of their partition carries it out.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

import structlog
from sqlalchemy import Connection, select

from orderflow.runtime import letters
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import assert_allowed, reading
from orderflow.runtime.dead_letters import OPEN
from orderflow.runtime.incoming import read
from orderflow.runtime.letter_policy import AUTOMATIC
from orderflow.runtime.letters import Letter, letter_of
from orderflow.runtime.schema import allowed_revisions, dead_letters
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import Run, UnitOfWork

log = structlog.get_logger(__name__)

EVERY: Final = 2.0
"""Seconds between looks: a canary at fault is to be acted on within five."""
AT_ONCE: Final = 100
"""The newest open letters that are looked at: a revision at fault shows in the first."""

Fault = Literal["revision", "message"]


class SecondOpinion:
    """Judges the open letters that other revisions than this unit of work's have made."""

    def __init__(self, unit: UnitOfWork, sql: Sql, telemetry: Telemetry, quarantine_after: int) -> None:
        self._unit = unit
        self._sql = sql
        self._telemetry = telemetry
        self._quarantine_after = quarantine_after
        self._faults: dict[int, Fault] = {}

    async def look_once(self) -> None:
        """Judge what is new, show what is open, and ask for the replay of what a revision left that is gone.

        Raises:
            RevisionRemoved: this revision may not write any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        found = await self._sql.run(self._open_letters)
        for letter in found:
            if letter.id not in self._faults:
                self._faults[letter.id] = await self._sql.run(self._judge, letter)
        self._show(found)
        if any(self._faults[letter.id] == "revision" for letter in found):
            await self._sql.run(self._ask_for_what_is_left, found)

    def _open_letters(self) -> list[Letter]:
        letter = dead_letters.c
        newest = (
            select(dead_letters)
            .where(letter.group == self._unit.group, letter.status == OPEN, letter.revision != self._unit.revision)
            .order_by(letter.id.desc())
            .limit(AT_ONCE)
        )
        with reading(self._unit.engine) as connection:
            return [letter_of(row) for row in connection.execute(newest)]

    def _judge(self, letter: Letter) -> Fault:
        """Decide the letter's message as if it had just come, and undo that."""
        incoming = read(letter.record)
        if incoming.message is None:
            return "message"
        with self._unit.engine.connect() as connection, connection.begin() as transaction:
            _, verdict = Run(self._unit, connection, {}).decide_alone(incoming)
            transaction.rollback()
        return "revision" if verdict is None else "message"

    def _show(self, found: Iterable[Letter]) -> None:
        numbers = Counter((letter.revision, self._faults[letter.id]) for letter in found)
        self._telemetry.judged.clear()
        for (revision, fault), number in numbers.items():
            self._telemetry.judged.labels(revision, fault).set(number)

    def _ask_for_what_is_left(self, found: Iterable[Letter]) -> None:
        with self._unit.engine.begin() as connection:
            assert_allowed(connection, self._unit.revision)
            allowed = set(connection.scalars(select(allowed_revisions.c.revision)))
            left = [one for one in found if self._faults[one.id] == "revision" and one.revision not in allowed]
            asked = sum(self._ask(connection, letter) for letter in reversed(left))
        if asked:
            log.info("replays asked for", letters=asked, why="their revision was taken back")

    def _ask(self, connection: Connection, letter: Letter) -> bool:
        now = self._unit.clock.now()
        behalf = Behalf(AUTOMATIC, f"revision {letter.revision} gave it up and was taken back; this one decides it")
        answer = letters.ask(
            connection,
            letter.id,
            "replay",
            behalf,
            due_at=now,
            now=now,
            quarantine_after=self._quarantine_after,
        )
        return answer == "asked"
