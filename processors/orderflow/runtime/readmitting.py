"""Looks for what is asked of dead letters, and has it carried out between two batches of the processor."""

from dataclasses import replace
from functools import partial
from typing import Final

from orderflow.runtime.letter_policy import AUTOMATIC
from orderflow.runtime.letters import Request
from orderflow.runtime.processor import Processor
from orderflow.runtime.readmission import Ending, Readmission
from orderflow.runtime.sql_thread import SqlThread
from orderflow.runtime.telemetry import Telemetry
from orderflow.runtime.unit_of_work import Done

EVERY: Final = 1.0
"""Seconds between looks: a person waits for a replay, and hardly minds one."""


class Readmitting:
    """Carries out the requests about letters of the partitions that this process owns."""

    def __init__(self, readmission: Readmission, processor: Processor, sql: SqlThread, telemetry: Telemetry) -> None:
        self._readmission = readmission
        self._processor = processor
        self._sql = sql
        self._telemetry = telemetry
        self._begun: dict[int, int] = {}
        """Per letter, the attempts of its request after this process began it: if they stand so still, it lived on."""

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
            await self._processor.beside(partial(self._readmission.take_up_left_behind, mine))
        return len(requests)

    async def _carry_out(self, request: Request) -> None:
        if self._begun.get(request.letter_id) != request.attempts:
            if not await self._processor.beside(partial(self._readmission.begin, request)):
                return
            self._begun[request.letter_id] = request.attempts + 1
        others = self._begun[request.letter_id] - 1
        endings: list[Ending] = []

        def work() -> Done:
            done, ending = self._readmission.carry_out(replace(request, attempts=others))
            endings.append(ending)
            return done

        await self._processor.beside(work)
        # Where that raised, the infrastructure failed, and this process remembers having lived through it.
        del self._begun[request.letter_id]
        for ending in endings:
            by = "policy" if ending.actor == AUTOMATIC else "person"
            self._telemetry.requests.labels(request.action, ending.cause, ending.outcome, by).inc()
