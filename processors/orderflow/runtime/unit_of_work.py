"""The unit of work: a batch of records becomes one transaction.

In that transaction stand the ledger's new offsets, the inbox rows, the new states, the audit trail, the outgoing
messages, the calls and timers, and the dead letters: all or nothing. It runs where the process does its SQL
(:mod:`.sql_thread`) and knows neither Faust nor a broker.

What can go wrong, and whose fault it is:

- ``Fenced``, ``RevisionRemoved``: this process has been replaced. Nothing was written; it must leave.
- an infrastructure failure (database away, disk full): no message's fault. Nothing was written; try the batch again.
- anything else is about some message: the batch is done again, message by message under savepoints, and the message at
  fault becomes a dead letter. Two processes that insert the same row are nobody's fault: that message is decided again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from orderflow.contracts import outcomes
from orderflow.contracts.decision import Refused
from orderflow.contracts.envelope import Message
from orderflow.runtime import dead_letters, inbox, ledger, outbox, rehearsal, task_rows
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.clock import Clock
from orderflow.runtime.context import Context, Ended
from orderflow.runtime.database import RevisionRemoved, assert_allowed, is_infrastructure_failure
from orderflow.runtime.dead_letters import Verdict, verdict_of
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.ledger import Fenced, Partition
from orderflow.runtime.recorder import Recorded, Recorder
from orderflow.runtime.rows import StaleState
from orderflow.runtime.sampling import Sampling
from orderflow.runtime.task_rows import Task

log = structlog.get_logger(__name__)

Steps = Mapping[Partition, tuple[int, int, str]]
"""Per partition: the offset last recorded, the new one, and the event id at the new one."""

NEVER_PARKED = frozenset(value for value in vars(outcomes).values() if isinstance(value, type)) & frozenset(
    Message.__subclasses__()
)
"""Outcomes of the context's own tasks say what has happened outside: nothing bad about an order makes them untrue."""

RACES = 3
"""How often a message is decided whose rows somebody else wrote meanwhile: each time they are there to be read then."""


@dataclass(slots=True)
class Done:
    """What one transaction has recorded.

    Attributes:
        outcomes: per message what became of it: a decision's outcome, or duplicate, parked, dead, passed-by.
        blocked: per key of ``outbox``, event ids of earlier rows that are not marked as published.
    """

    outcomes: list[tuple[Incoming, str]] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    blocked: dict[str, set[str]] = field(default_factory=dict)
    calls: list[Task] = field(default_factory=list)
    states: dict[str, tuple[Any, bytes]] = field(default_factory=dict)
    shared: dict[str, bytes] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)

    def add(self, recorded: Recorded) -> None:
        """Take over what a recorder has written."""
        self.outbox += recorded.outbox
        self.calls += recorded.calls
        self.states.update(recorded.states)
        self.shared.update(recorded.shared)
        self.ended += recorded.ended


class UnitOfWork:
    """Records batches for one context, as ``owner``, under ``revision``."""

    def __init__(
        self,
        context: Context[Any],
        engine: Engine,
        *,
        owner: str,
        revision: str,
        clock: Clock,
        sampling: Sampling | None = None,
    ) -> None:
        self.context = context
        self.engine = engine
        self.owner = owner
        self.revision = revision
        self.clock = clock
        self.sampling = sampling or Sampling()

    @property
    def group(self) -> str:
        """The consumer group under which this context keeps its ledger and inbox."""
        return self.context.name

    def process(
        self,
        batch: Sequence[Incoming],
        steps: Steps,
        *,
        cached: Mapping[str, bytes],
        acknowledged: Collection[str] = (),
    ) -> Done:
        """Record ``batch``, and that the partitions have come as far as ``steps`` says.

        Args:
            cached: cache entries of aggregates, by key; used only where their version is the row's.
            acknowledged: event ids of outbox rows to mark as published on the way.

        Raises:
            Fenced, RevisionRemoved: replaced; nothing was written.
            sqlalchemy.exc.SQLAlchemyError: the infrastructure failed; nothing was written.
        """
        try:
            return self._transact(batch, steps, cached, acknowledged, one_by_one=False)
        except (Fenced, RevisionRemoved):
            raise
        except Exception as error:
            if _is_no_messages_fault(error):
                raise
            log.warning("a batch is done message by message", messages=len(batch), reason=type(error).__name__)
        return self._transact(batch, steps, {}, acknowledged, one_by_one=True)

    def _transact(
        self,
        batch: Sequence[Incoming],
        steps: Steps,
        cached: Mapping[str, bytes],
        acknowledged: Collection[str],
        *,
        one_by_one: bool,
    ) -> Done:
        with self.engine.begin() as connection:
            assert_allowed(connection, self.revision)
            ledger.advance(connection, self.group, self.owner, steps, self.clock.now())
            outbox.mark_published(connection, acknowledged, self.clock.now())
            run = Run(self, connection, cached)
            if one_by_one:
                run.each(batch)
            else:
                run.together(batch)
            self.find_blocked(connection, run.done)
            return run.done

    def find_blocked(self, connection: Connection, done: Done) -> None:
        """Note which earlier rows the messages of ``done`` must not overtake; the last step of a transaction."""
        if done.outbox:
            mine = {row.event_id for row in done.outbox}
            waiting = outbox.blocking(connection, {row.key for row in done.outbox})
            done.blocked = {key: others for key, ids in waiting.items() if (others := ids - mine)}

    def recorder(self, connection: Connection, cached: Mapping[str, bytes]) -> Recorder:
        """Return a recorder for one transaction."""
        return Recorder(
            self.context,
            connection,
            cached=cached,
            owner=self.owner,
            revision=self.revision,
            sampling=self.sampling,
            now=self.clock.now(),
        )

    def claim(self, partitions: Iterable[Partition]) -> dict[Partition, ledger.Entry]:
        """Become the owner of ``partitions`` and return how their ledger stood."""
        with self.engine.begin() as connection:
            assert_allowed(connection, self.revision)
            return ledger.claim(connection, self.group, partitions, self.owner, self.clock.now())

    def release(self, partitions: Iterable[Partition]) -> None:
        """Say that work on ``partitions`` has stopped cleanly."""
        with self.engine.begin() as connection:
            ledger.release(connection, self.group, partitions, self.owner)

    def begin_attempt(self, incoming: Incoming) -> int:
        """Record, in a transaction of its own, that a message is about to be decided; return the attempts before."""
        with self.engine.begin() as connection:
            return inbox.begin_attempt(connection, self.group, incoming.record)

    def rehearse(self, incoming: Incoming) -> str:
        """Decide a message where that has no effect; return what it ended the process there by, if it did.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the infrastructure failed.
        """
        if incoming.message is None:
            return ""
        try:
            with self.engine.connect() as connection:
                recorder = self.recorder(connection, {})
                recorder.read([incoming.message])
                work = recorder.rehearsal(incoming.message)
        except Exception as error:
            if _is_no_messages_fault(error):
                raise
            # What cannot be read cannot be decided either, and that ends nothing.
            return ""
        return rehearsal.ending_of(work)

    def are_recorded(self, batch: Sequence[Incoming]) -> bool:
        """Tell whether the inbox knows every message of ``batch``."""
        with self.engine.begin() as connection:
            found = inbox.known(connection, self.group, [incoming.event_id for incoming in batch])
        return all(incoming.event_id in found for incoming in batch)

    def restart_at(self, partition: Partition, recorded: int, first: int) -> None:
        """Set the ledger back (or on) so that ``first`` is next: the topic is not the one that was read before.

        What the context had sent to itself there, and not processed, is published once more.
        """
        with self.engine.begin() as connection:
            step = {partition: (recorded, first - 1, "")}
            ledger.advance(connection, self.group, self.owner, step, self.clock.now())
            inbox.forget_attempts(connection, self.group, partition)
            task_rows.forget_horizons(connection)
            again = outbox.doubt(connection, partition[0], self.group)
        if again:
            log.warning("publishing own messages again", topic=partition[0], messages=again)


class Run:
    """One pass over a batch within one transaction."""

    def __init__(self, unit: UnitOfWork, connection: Connection, cached: Mapping[str, bytes]) -> None:
        self._unit = unit
        self._context = unit.context
        self._connection = connection
        self._cached = cached
        self._now = unit.clock.now()
        self._stopped: set[str] = set()
        self._seen: dict[str, inbox.Known] = {}
        self._rows: list[dict[str, Any]] = []
        self._letters: list[tuple[Incoming, Verdict]] = []
        self.done = Done()

    def together(self, batch: Sequence[Incoming]) -> None:
        """Decide all, then write all."""
        recorder = self._unit.recorder(self._connection, self._cached)
        self._look_up(batch)
        recorder.read([i.message for i in batch if i.message is not None and self._fate(i) == "decide"])
        for incoming in batch:
            fate = self._fate(incoming)
            verdict = self._verdict(incoming) if fate == inbox.DEAD else None
            if fate == "decide":
                fate, verdict = self._decide(recorder, incoming)
            self._settle(incoming, fate, verdict)
        self.done.add(recorder.write())
        self._write()

    def _decide(self, recorder: Recorder, incoming: Incoming) -> tuple[str, Verdict | None]:
        try:
            return recorder.decide(incoming).outcome, None
        except SQLAlchemyError:
            raise
        except Exception as error:  # whatever else decide raises is about this message
            return inbox.DEAD, self._judge(error)

    def each(self, batch: Sequence[Incoming]) -> None:
        """Decide and write message by message, each under a savepoint of its own."""
        self._look_up(batch)
        for incoming in batch:
            fate = self._fate(incoming)
            verdict = self._verdict(incoming) if fate == inbox.DEAD else None
            if fate == "decide":
                fate, verdict = self.decide_alone(incoming)
            self._settle(incoming, fate, verdict)
            self._write()

    def decide_alone(self, incoming: Incoming) -> tuple[str, Verdict | None]:
        """Decide a message and write its decision under a savepoint of its own; return its outcome, or why not."""
        for races_left in reversed(range(RACES)):
            try:
                return self._under_savepoint(incoming), None
            except Exception as error:
                if _is_no_messages_fault(error):
                    raise
                if not races_left or not isinstance(error, IntegrityError | StaleState):
                    return inbox.DEAD, self._judge(error)
        raise AssertionError("unreachable: the last race ends in a verdict")

    def _under_savepoint(self, incoming: Incoming) -> str:
        savepoint = self._connection.begin_nested()
        try:
            recorder = self._unit.recorder(self._connection, self._cached)
            assert incoming.message is not None
            recorder.read([incoming.message])
            outcome = recorder.decide(incoming).outcome
            recorded = recorder.write()
        except Exception as error:
            # Where the database is away there is nothing to roll back to.
            if not _is_no_messages_fault(error):
                savepoint.rollback()
            raise
        savepoint.commit()
        self.done.add(recorded)
        return outcome

    def _look_up(self, batch: Sequence[Incoming]) -> None:
        self._seen = inbox.known(self._connection, self._unit.group, [incoming.event_id for incoming in batch])
        if self._context.parks:
            keys = {incoming.key for incoming in batch}
            self._stopped = dead_letters.stopped_keys(self._connection, self._unit.group, keys)

    def _fate(self, incoming: Incoming) -> str:
        seen = self._seen.get(incoming.event_id)
        if seen is not None:
            return "duplicate" if seen.digest == incoming.digest else inbox.DEAD
        if incoming.message is None:
            return inbox.DEAD
        kind = type(incoming.message)
        if kind not in self._context.takes.get(incoming.record.topic, ()):
            return "passed-by"
        if incoming.key in self._stopped and kind not in self._context.compensations and kind not in NEVER_PARKED:
            return inbox.PARKED
        return "decide"

    def _settle(self, incoming: Incoming, fate: str, verdict: Verdict | None) -> None:
        """Note what became of a message, with its inbox row and its dead letter if it gets them."""
        self.done.outcomes.append((incoming, fate))
        if verdict is not None:
            self._letters.append((incoming, verdict))
            if self._context.parks:
                self._stopped.add(incoming.key)
        if type(incoming.message) in self._context.compensations and incoming.key in self._stopped:
            self._supersede(incoming.key, fate)
        is_conflict = fate == inbox.DEAD and incoming.event_id in self._seen
        if fate in {"duplicate", "passed-by"} or is_conflict:
            return
        self._seen[incoming.event_id] = inbox.Known(incoming.digest, fate)
        self._rows.append(inbox.row(incoming, self._unit.group, fate, self._now, keep=fate == inbox.PARKED))

    def _supersede(self, key: str, fate: str) -> None:
        if fate in {inbox.DEAD, "duplicate", "passed-by"}:
            return
        # What it supersedes may have come in this very batch.
        self._write()
        dead_letters.supersede(self._connection, self._unit.group, key)
        inbox.supersede(self._connection, self._unit.group, key)
        self._stopped.discard(key)

    def _verdict(self, incoming: Incoming) -> Verdict:
        if incoming.cause:
            return Verdict(incoming.cause, incoming.reason)
        return Verdict("conflict", "the same eventId was decided before with other bytes")

    def _judge(self, error: Exception) -> Verdict:
        if isinstance(error, Refused):
            return Verdict("refused", str(error))
        return verdict_of(error, "data-error" if isinstance(error, SQLAlchemyError) else "decide-failed")

    def _write(self) -> None:
        """Write the inbox rows and dead letters noted so far."""
        rows, self._rows = self._rows, []
        letters, self._letters = self._letters, []
        inbox.insert(self._connection, rows)
        self.done.outbox += dead_letters.bury(
            self._connection, self._unit.group, self._unit.revision, letters, self._now
        )


def _is_no_messages_fault(error: Exception) -> bool:
    # Of what the database says alone: a decision that raises an OSError is at fault itself.
    return isinstance(error, SQLAlchemyError) and is_infrastructure_failure(error)
