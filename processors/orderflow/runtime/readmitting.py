"""Looks for what is asked of dead letters, and has it carried out between two batches of the processor."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from orderflow.runtime.automatic_replay import AutomaticReplay
from orderflow.runtime.ledger import Fenced
from orderflow.runtime.letter_policy import AUTOMATIC, DeadLetterRules
from orderflow.runtime.letters import Request
from orderflow.runtime.processor import Processor
from orderflow.runtime.readmission import Ending, Readmission
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.telling import tell
from orderflow.runtime.unit_of_work import Done, UnitOfWork

EVERY: Final = 1.0
"""Seconds between looks: a person waits for a replay, and hardly minds one."""


class Readmitting:
    """Carries out the requests about letters of the partitions that this process owns, and the policies' wishes."""

    def __init__(
        self,
        unit: UnitOfWork,
        rules: DeadLetterRules,
        processor: Processor,
        sql: Sql,
        telemetry: Telemetry,
    ) -> None:
        self._readmission = Readmission(unit)
        self._policies = AutomaticReplay(unit, rules)
        self._processor = processor
        self._sql = sql
        self._clock = unit.clock
        self._telemetry = telemetry
        self._begun: dict[int, int] = {}
        """Per letter, the attempts of its request after this process began it: if they stand so still, it lived on."""

    async def follow_policies_if_anchor(self) -> int:
        """Ask for what the policies want, if this is the one process to do so; return how many letters that were.

        Raises:
            RevisionRemoved: this revision may not write any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        if self._policies.anchor not in self._processor.positions:
            return 0
        return await self._sql.run(self._policies.ask_once)

    async def look_once(self) -> int:
        """Carry out what is due, and return how many requests that were.

        Raises:
            RevisionRemoved: this revision may not decide any more.
            sqlalchemy.exc.SQLAlchemyError: the database is away; what was not carried out is still asked for.
        """
        mine = frozenset(self._processor.positions)
        requests = await self._sql.run(self._readmission.due, mine)
        for request in requests:
            await self._carry_out(request)
        if await self._sql.run(self._readmission.anything_left_behind, mine):
            await self._record(partial(self._readmission.take_up_left_behind, mine))
        return len(requests)

    async def _carry_out(self, request: Request) -> None:
        if self._begun.get(request.letter_id) != request.attempts:
            if not await self._record(partial(self._readmission.begin, request)):
                return
            self._begun[request.letter_id] = request.attempts + 1
        others = self._begun[request.letter_id] - 1
        endings: list[Ending] = []

        def work() -> Done:
            done, ending = self._readmission.carry_out(replace(request, attempts=others))
            endings.append(ending)
            return done

        await self._record(work)
        # Where that raised, the infrastructure failed, and this process remembers having lived through it.
        del self._begun[request.letter_id]
        for ending in endings:
            by = "policy" if ending.actor == AUTOMATIC else "person"
            self._telemetry.requests.labels(request.action, ending.cause, ending.outcome, by).inc()

    async def _record(self, work: Callable[[], Done]) -> bool:
        """Record something between two batches and do what was recorded; tell whether the partition is still ours."""
        started = time.perf_counter()
        async with self._processor.busy:
            try:
                done = await self._sql.run(work)
            except Fenced as fenced:
                self._processor.give_up(fenced.partition)
                return False
            self._processor.do(done)
        if done.outcomes:
            seconds = time.perf_counter() - started
            tell(self._telemetry, done, size=len(done.outcomes), seconds=seconds, now=self._clock.now())
        return True
