"""Readmission: puts a dead letter back in its order, or lets it go, and lets follow what had waited behind it.

It is carried out inside the owner of the letter's partition, between two batches, so that no message of the order is
decided meanwhile. One transaction asserts that this process still has the partition, decides the letter by today's
code, and then the parked messages of its order as they came, up to the first that cannot be decided: that one takes the
letter's place, and the rest goes on waiting. All or nothing: a process that ends in the middle has done nothing.

What a process ends *of* must not end it for ever. Each beginning is recorded first. The second goes carefully: the
letter alone, and the first message behind it becomes a letter with a request of its own. The third is not made: the
letter stays, with the cause ``kills-the-process``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from orderflow.runtime import dead_letters, inbox, ledger, letters
from orderflow.runtime.acts import Behalf, note
from orderflow.runtime.database import assert_allowed, reading
from orderflow.runtime.dead_letters import OPEN, Verdict
from orderflow.runtime.incoming import Incoming, read
from orderflow.runtime.ledger import Partition
from orderflow.runtime.letter_policy import AUTOMATIC
from orderflow.runtime.letters import LEFT_BEHIND, Letter, Request
from orderflow.runtime.unit_of_work import NEVER_PARKED, Done, Run, UnitOfWork

AT_ONCE: Final = 50
"""Requests looked for at once; each is a transaction of its own."""

LAST_ATTEMPT: Final = 2
"""A letter whose replay ended its process this often is not replayed a third time: it stays, and can be asked for."""

NOBODY: Final = Behalf(AUTOMATIC, "it was left behind")
"""On whose behalf a message is replayed that waits behind nothing."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a request.

    Attributes:
        outcome: replayed, discarded, failed, waits (behind an earlier letter), or gone (it was not open any more).
        cause: the letter's, as it was when it was taken up.
        actor: on whose behalf.
    """

    outcome: str
    cause: str
    actor: str


@dataclass(frozen=True, slots=True)
class _Fate:
    """How a letter's message was taken: the inbox row it has now, and its outcome there or the verdict on it."""

    incoming: Incoming
    outcome: str
    verdict: Verdict | None = None


class Readmission:
    """Carries out what is asked of the dead letters of one unit of work's context."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._context = unit.context

    def due(self, partitions: Collection[Partition]) -> list[Request]:
        """Return what is to be carried out by the owner of ``partitions`` now."""
        with reading(self._unit.engine) as connection:
            return letters.due(connection, self._unit.group, partitions, self._unit.clock.now(), AT_ONCE)

    def anything_left_behind(self, partitions: Collection[Partition]) -> bool:
        """Tell whether messages that came by ``partitions`` are parked and no letter stands in front of them.

        There are none but where messages of one key come by partitions of different owners.
        """
        with reading(self._unit.engine) as connection:
            return bool(inbox.left_behind(connection, self._unit.group, partitions))

    def take_up_left_behind(self, partitions: Collection[Partition]) -> Done:
        """Make letters of such messages, with requests to replay them.

        Raises:
            Fenced, RevisionRemoved: this process has been replaced; nothing was written.
            sqlalchemy.exc.SQLAlchemyError: the infrastructure failed; nothing was written.
        """
        unit, done = self._unit, Done()
        with unit.engine.begin() as connection:
            assert_allowed(connection, unit.revision)
            for first in inbox.left_behind(connection, unit.group, partitions):
                ledger.assert_owner(connection, unit.group, (first.record.topic, first.record.partition), unit.owner)
                self._take_up(connection, done, first, NOBODY)
            unit.find_blocked(connection, done)
        return done

    def begin(self, request: Request) -> Done:
        """Record, in a transaction of its own, that the request is about to be carried out.

        Raises:
            Fenced: this process has been replaced; nothing was written.
        """
        unit = self._unit
        with unit.engine.begin() as connection:
            ledger.assert_owner(connection, unit.group, request.partition, unit.owner)
            letters.begin(connection, request.letter_id)
        return Done()

    def carry_out(self, request: Request) -> tuple[Done, Ending]:
        """Carry out ``request``, whose ``attempts`` are those of processes that ended meanwhile.

        Raises:
            Fenced, RevisionRemoved: this process has been replaced; nothing was written.
            sqlalchemy.exc.SQLAlchemyError: the infrastructure failed; nothing was written.
        """
        unit = self._unit
        with unit.engine.begin() as connection:
            assert_allowed(connection, unit.revision)
            ledger.assert_owner(connection, unit.group, request.partition, unit.owner)
            run = Run(unit, connection, {})
            letter = letters.lock(connection, request.letter_id)
            if not letters.take(connection, request.letter_id) or letter is None:
                return run.done, Ending("gone", "", request.behalf.actor)
            outcome, detail = self._see_to(connection, run, letter, request)
            after = {"failed": OPEN, "waits": OPEN, "gone": letter.status}.get(outcome, outcome)
            act = letters.act_on(letter, f"{request.action} asked for", after, f"{request.behalf.reason}: {detail}")
            note(connection, request.behalf.actor, [act], unit.clock.now())
            unit.find_blocked(connection, run.done)
            return run.done, Ending(outcome, letter.cause, request.behalf.actor)

    def _see_to(self, connection: Connection, run: Run, letter: Letter, request: Request) -> tuple[str, str]:
        """Do to the letter what is asked; return what became of it, and a sentence about that."""
        if letter.status != OPEN:
            return "gone", f"it was {letter.status} meanwhile"
        if request.action == "discard":
            letters.close(connection, letter.id, letters.DISCARDED, self._unit.clock.now())
            self._let_go(connection, letter)
            return letters.DISCARDED, f"discarded; {self._release(connection, run, letter, request)}"
        return self._replay(connection, run, letter, request)

    def _let_go(self, connection: Connection, letter: Letter) -> None:
        """Say in the inbox that nobody decides the letter's message any more, unless its id is another one's there."""
        group, digest = self._unit.group, read(letter.record).digest
        seen = inbox.known(connection, group, [letter.event_id]).get(letter.event_id)
        if seen is not None and seen.digest == digest:
            inbox.resettle(connection, group, letter.event_id, inbox.DEAD, inbox.DISCARDED)

    def _replay(self, connection: Connection, run: Run, letter: Letter, request: Request) -> tuple[str, str]:
        unit = self._unit
        fate = _Fate(read(letter.record), inbox.DEAD, _killing(request))
        if fate.verdict is None:
            earlier = letters.first_open(connection, unit.group, letter.key)
            if earlier is not None and earlier < letter.id and self._may_wait(fate.incoming):
                return "waits", f"letter {earlier} of the same order stands before it"
            fate = self._decide(connection, run, letter, fate.incoming)
        if fate.verdict is not None:
            letters.failed(connection, letter.id, fate.verdict, unit.revision, unit.clock.now())
            return "failed", f"failed again ({fate.verdict.cause}): {fate.verdict.reason}"
        self._settle(connection, letter, fate)
        run.done.outcomes.append((fate.incoming, fate.outcome))
        is_decided = fate.outcome not in {"duplicate", "passed-by"}
        if is_decided and type(fate.incoming.message) in self._context.compensations:
            dead_letters.supersede(connection, unit.group, letter.key)
            inbox.supersede(connection, unit.group, letter.key)
        return letters.REPLAYED, f"{fate.outcome}; {self._release(connection, run, letter, request)}"

    def _may_wait(self, incoming: Incoming) -> bool:
        kind = type(incoming.message)
        return self._context.parks and kind not in self._context.compensations and kind not in NEVER_PARKED

    def _decide(self, connection: Connection, run: Run, letter: Letter, incoming: Incoming) -> _Fate:
        """Decide the letter's message as if it had just come; what is known under its id besides itself counts."""
        seen = inbox.known(connection, self._unit.group, [incoming.event_id]).get(incoming.event_id)
        if seen is not None and seen.digest != incoming.digest:
            return _Fate(incoming, inbox.DEAD, Verdict("conflict", "the same eventId was decided before"))
        if seen is not None and (seen.status != inbox.DEAD or incoming.event_id != letter.event_id):
            return _Fate(incoming, "duplicate")
        kinds = self._context.takes.get(incoming.record.topic, frozenset())
        if incoming.message is not None and type(incoming.message) not in kinds:
            return _Fate(incoming, "passed-by")
        return _decided(run, incoming)

    def _settle(self, connection: Connection, letter: Letter, fate: _Fate) -> None:
        """Close the letter, and give its message the place in the inbox that it would have had."""
        group, event_id = self._unit.group, fate.incoming.event_id
        letters.close(connection, letter.id, letters.REPLAYED, self._unit.clock.now())
        if event_id != letter.event_id:
            # Bytes that named no message went by an id of their own; now they have the message's.
            inbox.resettle(connection, group, letter.event_id, inbox.DEAD, letters.REPLAYED)
        if fate.outcome != "duplicate" and not inbox.resettle(connection, group, event_id, inbox.DEAD, fate.outcome):
            inbox.insert(connection, [inbox.row(fate.incoming, group, fate.outcome, letter.created_at)])

    # What waited behind it

    def _release(self, connection: Connection, run: Run, letter: Letter, request: Request) -> str:
        """Decide what was parked behind the letter; return a sentence about it."""
        group = self._unit.group
        if (another := letters.first_open(connection, group, letter.key)) is not None:
            return f"letter {another} of the same order is still open"
        waiting = inbox.parked(connection, group, letter.key) if letter.key else []
        if waiting and request.attempts:
            self._take_up(connection, run.done, waiting[0], request.behalf)
            return f"{len(waiting)} behind it follow one by one"
        for number, incoming in enumerate(waiting):
            fate = _decided(run, incoming)
            run.done.outcomes.append((incoming, fate.outcome))
            if fate.verdict is not None:
                self._bury(connection, run.done, incoming, fate.verdict)
                return f"{number} of {len(waiting)} behind it followed, then {incoming.event_type} could not be decided"
            inbox.resettle(connection, group, incoming.event_id, inbox.PARKED, fate.outcome)
        return f"{len(waiting)} behind it followed"

    def _bury(self, connection: Connection, done: Done, incoming: Incoming, verdict: Verdict) -> None:
        unit = self._unit
        inbox.resettle(connection, unit.group, incoming.event_id, inbox.PARKED, inbox.DEAD)
        done.outbox += dead_letters.bury(connection, unit.group, unit.revision, [(incoming, verdict)], unit.clock.now())

    def _take_up(self, connection: Connection, done: Done, incoming: Incoming, behalf: Behalf) -> None:
        """Make a letter of a parked message, and ask for its replay."""
        self._bury(connection, done, incoming, LEFT_BEHIND)
        letter_id = letters.of_record(connection, self._unit.group, incoming.record)
        assert letter_id is not None
        now = self._unit.clock.now()
        letters.ask(connection, letter_id, "replay", behalf, due_at=now, now=now, quarantine_after=1)


def _decided(run: Run, incoming: Incoming) -> _Fate:
    if incoming.message is None:
        return _Fate(incoming, inbox.DEAD, Verdict(incoming.cause, incoming.reason))
    return _Fate(incoming, *run.decide_alone(incoming))


def _killing(request: Request) -> Verdict | None:
    if request.attempts < LAST_ATTEMPT:
        return None
    return Verdict("kills-the-process", f"its process ended {request.attempts} times while it was being replayed")
