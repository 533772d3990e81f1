"""Replays the partitions that this worker owns: reads every message again and holds it against what was recorded.

It is done here because the owner alone knows where the ledger stands and may decide for the partition. What was asked
for stands in rows of the database (:mod:`.replay_rows`); between two messages of a partition nothing is kept in memory,
so a worker that ends, or loses the partition, leaves a replay that the next owner goes on with.

Live work goes first. A replay reads through a consumer of its own, compares in a thread of its own on a snapshot that
blocks nobody, stays below a rate, and takes the processor's turn only to decide a message that the inbox does not know.
"""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orderflow.runtime import ledger, replay_rows
from orderflow.runtime.broker import PublishFailed
from orderflow.runtime.comparing import Judgement, judge
from orderflow.runtime.database import RevisionRemoved, assert_allowed, reading
from orderflow.runtime.history import History, Read
from orderflow.runtime.incoming import Incoming, read
from orderflow.runtime.processor import Processor
from orderflow.runtime.recalling import recall
from orderflow.runtime.replay_report import Finding
from orderflow.runtime.replay_rows import Part
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.telling import tell
from orderflow.runtime.unit_of_work import Done, UnitOfWork

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Messages compared at once: some 20 ms of work, in between which everybody else has the interpreter."""
NOTED_EVERY = timedelta(seconds=1)
EMPTY_READS = 3
"""So often nothing is to be had of a partition below its ledger before the replay says so."""

Judged = list[tuple[Incoming, Judgement]]


class Abandoned(Exception):  # noqa: N818 - says what became of the part
    """The part is somebody else's now, or nobody wants it any more."""


class Replayer:
    """Works on the replays of one worker's partitions, one partition at a time.

    Args:
        looking: where messages are compared; ``sql``, where the worker writes, is taken for notes alone.
    """

    def __init__(
        self,
        unit: UnitOfWork,
        processor: Processor,
        looking: Sql,
        sql: Sql,
        history: History,
        telemetry: Telemetry,
    ) -> None:
        self._unit = unit
        self._context = unit.context
        self._engine = unit.engine
        self._processor = processor
        self._looking = looking
        self._sql = sql
        self._history = history
        self._telemetry = telemetry
        self._noted = unit.clock.now()

    async def work_once(self) -> bool:
        """Take up one part, if any is asked for, and go on with it to its end; tell whether there was one.

        Raises:
            PublishFailed: the broker is away; the part goes on later.
            sqlalchemy.exc.SQLAlchemyError: the database is away; the part goes on later.
            RevisionRemoved: this revision may not write any more.
        """
        part = await self._sql.run(self._claim, sorted(self._processor.positions))
        if part is None:
            await self._history.close()
            return False
        log.info("replay begins", replay=part.replay_id, topic=part.topic, partition=part.partition)
        try:
            await self._replay(part)
        except (Abandoned, ledger.Fenced) as reason:
            log.info("replay is left", replay=part.replay_id, topic=part.topic, reason=str(reason))
        except (SQLAlchemyError, PublishFailed, RevisionRemoved):
            raise
        except Exception as error:  # a replay that fails stops nobody's work
            log.error("replay failed", replay=part.replay_id, topic=part.topic, error=type(error).__name__)
            part.report.reason = f"{type(error).__name__} at offset {part.next_offset}"
            await self._note(part, replay_rows.FAILED)
        return True

    async def close(self) -> None:
        """Let go of the broker."""
        await self._history.close()

    def _claim(self, mine: Sequence[ledger.Partition]) -> Part | None:
        with reading(self._engine) as connection:
            if not mine or not replay_rows.anything_open(connection):
                return None
        with self._engine.begin() as connection:
            assert_allowed(connection, self._unit.revision)
            return replay_rows.claim(connection, mine, self._unit.owner, self._unit.clock.now())

    async def _replay(self, part: Part) -> None:
        """Go through the part from where it was left, as far as the ledger stood when it began."""
        if part.next_offset is None:
            part.next_offset = await self._history.start_of(part.place, part.since)
            part.report.first = part.next_offset
            part.report.end = self._recorded(part) + 1
        end = part.report.end or 0
        self._noted = self._unit.clock.now()
        empty = 0
        while part.next_offset < end and empty < EMPTY_READS:
            started = asyncio.get_running_loop().time()
            most = max(1, min(AT_ONCE, part.rate))
            found, after = await self._history.read(part.place, part.next_offset, most)
            empty = empty + 1 if after == part.next_offset else 0
            wanted = list(itertools.takewhile(lambda one: _is_wanted(one, part, end), found))
            await self._take(part, wanted)
            part.next_offset = after if len(wanted) == len(found) else end
            await self._note_in_time(part)
            await asyncio.sleep(max(0.0, len(wanted) / part.rate - (asyncio.get_running_loop().time() - started)))
        if empty == EMPTY_READS:
            part.report.reason = f"the broker gives nothing from offset {part.next_offset} on"
        await self._note(part, replay_rows.FAILED if part.report.reason else replay_rows.DONE)
        log.info("replay is done", replay=part.replay_id, topic=part.topic, partition=part.partition)

    def _recorded(self, part: Part) -> int:
        """Return the offset that the ledger holds of the part's partition.

        Raises:
            Abandoned: the partition has left this worker.
        """
        position = self._processor.positions.get(part.place)
        if position is None:
            raise Abandoned("the partition has another owner")
        return position.recorded

    async def _take(self, part: Part, found: Sequence[Read]) -> None:
        """Compare some messages, count what comes of it, and decide what is unknown if that is wanted."""
        if not found:
            return
        for incoming, judgement in await self._looking.run(self._compare, found):
            if judgement.verdict == "unknown" and part.applies:
                judgement.detail = f"decided now: {await self._apply(part, incoming)}"
                judgement.verdict = "applied"
            self._count(part, incoming, judgement)

    def _compare(self, found: Sequence[Read]) -> Judged:
        messages = [(read(one.record), one.at) for one in found]
        with reading(self._engine) as connection:
            recorded = recall(connection, self._context, [incoming for incoming, _ in messages])
        return [(incoming, judge(self._context, incoming, at, recorded)) for incoming, at in messages]

    def _count(self, part: Part, incoming: Incoming, judgement: Judgement) -> None:
        self._telemetry.replayed.labels(judgement.verdict).inc()
        finding = None
        if judgement.detail:
            finding = Finding(
                offset=incoming.record.offset,
                verdict=judgement.verdict,
                event_type=incoming.event_type,
                event_id=incoming.event_id,
                key=incoming.key,
                detail=judgement.detail,
            )
        report = part.report
        report.add(judgement.verdict, finding)
        report.decided_again += judgement.decided_again
        report.outputs += judgement.outputs
        report.outputs_dropped += judgement.outputs_dropped

    async def _apply(self, part: Part, incoming: Incoming) -> str:
        """Decide a message that the ledger has passed, as the partition's owner; the ledger stays where it is."""
        self._recorded(part)
        done = await self._processor.between_batches(lambda: self._decide(part.place, incoming))
        tell(self._telemetry, done, size=1, seconds=0.0, now=self._unit.clock.now())
        outcome = done.outcomes[0][1]
        log.warning(
            "replay applied a message",
            replay=part.replay_id,
            message=incoming.event_type,
            eventId=incoming.event_id,
            outcome=outcome,
        )
        return outcome

    def _decide(self, place: ledger.Partition, incoming: Incoming) -> Done:
        with reading(self._engine) as connection:
            held = ledger.read(connection, self._unit.group, [place])[place]
        # From where it stands to where it stands: who is not the owner any more is fenced.
        step = {place: (held.offset, held.offset, held.last_event_id)}
        return self._unit.process([incoming], step, cached={})

    async def _note_in_time(self, part: Part) -> None:
        self._recorded(part)
        if self._unit.clock.now() - self._noted >= NOTED_EVERY:
            await self._note(part, replay_rows.RUNNING)

    async def _note(self, part: Part, status: str) -> None:
        if not await self._sql.run(self._write_note, part, status):
            raise Abandoned("it was cancelled, or somebody else has taken it up")
        self._noted = self._unit.clock.now()

    def _write_note(self, part: Part, status: str) -> bool:
        with self._engine.begin() as connection:
            return replay_rows.note(connection, part, self._unit.owner, self._unit.clock.now(), status)


def _is_wanted(one: Read, part: Part, end: int) -> bool:
    return one.record.offset < end and (part.until is None or one.at <= part.until)
