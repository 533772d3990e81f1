"""The automatic dead-letter processor: asks, as a person would, for the replay of letters whose cause passes by itself.

One process per context runs it, the one that holds the anchor (partition 0 of the context's command topic). It asks
under the rules that people ask under: a letter has one request at a time, a quarantine is kept, an act stands in the
audit trail, and the owner of the letter's partition carries it out.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from orderflow.runtime import letters
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import assert_allowed, reading
from orderflow.runtime.dead_letters import OPEN
from orderflow.runtime.ledger import Partition
from orderflow.runtime.letter_policy import AUTOMATIC, DeadLetterRules, wait_before
from orderflow.runtime.schema import dead_letters, letter_requests
from orderflow.runtime.unit_of_work import NEVER_PARKED, UnitOfWork

log = structlog.get_logger(__name__)

EVERY: Final = 5.0
"""Seconds between looks, as the relay's: the least wait before a replay is of that order."""
AT_ONCE: Final = 100
"""Replays asked for at one look: a deluge of letters is put back at 20 a second, beside what comes in."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    letter_id: int
    cause: str
    failed: int


class AutomaticReplay:
    """Asks for the replay of letters of one context that the rules have policies for."""

    def __init__(self, unit: UnitOfWork, rules: DeadLetterRules) -> None:
        self.anchor: Partition = (unit.context.command_topic, 0)
        self._unit = unit
        self._policies = {str(policy.cause): policy for policy in rules.automatic}
        self._quarantine_after = rules.quarantine_after
        self._overtaking = [kind.__name__ for kind in {*unit.context.compensations, *NEVER_PARKED}]

    def ask_once(self) -> int:
        """Look once, ask for what is due, and return how many letters that were.

        Raises:
            RevisionRemoved: this revision may not write any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        if not self._policies:
            return 0
        with reading(self._unit.engine) as connection:
            due = self._due(connection)
        if not due:
            return 0
        with self._unit.engine.begin() as connection:
            assert_allowed(connection, self._unit.revision)
            asked = sum(self._ask(connection, candidate) for candidate in due)
        log.info("replays asked for", letters=asked)
        return asked

    def _due(self, connection: Connection) -> list[_Candidate]:
        letter = dead_letters.c
        rows = connection.execute(
            select(letter.id, letter.cause, letter.replays)
            .where(letter.group == self._unit.group, letter.status == OPEN)
            .where(or_(*self._conditions()))
            .where(~exists().where(letter_requests.c.letter_id == letter.id))
            .where(self._is_first())
            .order_by(letter.id)
            .limit(AT_ONCE)
        )
        return [_Candidate(*row) for row in rows]

    def _conditions(self) -> list[ColumnElement[bool]]:
        """Return a condition per cause and number of failed replays: it has waited for as long as it must."""
        letter, now = dead_letters.c, self._unit.clock.now()
        return [
            and_(
                letter.cause == policy.cause,
                letter.replays == failed,
                func.coalesce(letter.tried_at, letter.created_at, type_=letter.created_at.type)
                <= now - wait_before(policy, failed),
            )
            for policy in self._policies.values()
            for failed in range(min(policy.attempts, self._quarantine_after))
        ]

    def _is_first(self) -> ColumnElement[bool]:
        """Return the condition that no earlier letter stands before it, or that it goes before those."""
        earlier = dead_letters.alias("earlier")
        stands_before = exists().where(
            earlier.c.group == dead_letters.c.group,
            earlier.c.key == dead_letters.c.key,
            earlier.c.key != "",
            earlier.c.status == OPEN,
            earlier.c.id < dead_letters.c.id,
        )
        return or_(~stands_before, dead_letters.c.event_type.in_(self._overtaking))

    def _ask(self, connection: Connection, candidate: _Candidate) -> bool:
        policy, now = self._policies[candidate.cause], self._unit.clock.now()
        attempt = f"attempt {candidate.failed + 1} of {policy.attempts}"
        answer = letters.ask(
            connection,
            candidate.letter_id,
            "replay",
            Behalf(AUTOMATIC, f"policy for {policy.cause}, {attempt}"),
            due_at=now,
            now=now,
            quarantine_after=self._quarantine_after,
        )
        return answer == "asked"
