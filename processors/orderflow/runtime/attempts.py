"""After an unclean stop: whether the message that is next may be decided, or is what ends its processes.

Its attempt is recorded first, so it is known how many processes have ended while they were at it. That alone proves
nothing: somebody who kills processes may hit the same message again and again. It makes the message a suspect, and a
suspect is rehearsed (:mod:`.rehearsal`). A message that ends the rehearsal is given up at the third start: the first
was a batch, and nobody knew of which message it died, the second made it a suspect.

What does not end a rehearsal and yet its process, while its decision is being written or by taking the witness along,
is given up at the start after :data:`UNWITNESSED` attempts.
"""

from dataclasses import replace
from typing import Final

from orderflow.runtime.incoming import Incoming
from orderflow.runtime.positions import Position
from orderflow.runtime.sql_thread import Sql
from orderflow.runtime.unit_of_work import UnitOfWork

UNWITNESSED: Final = 10
"""Processes that end over one message until it is given up without a witness. If one in ten of them ended over an
innocent message by chance, that would be one in ten thousand million."""


async def attempted(incoming: Incoming, position: Position, unit: UnitOfWork, sql: Sql) -> Incoming:
    """Record that a message is begun and return it; one that ends its processes comes back as undecidable."""
    if position.begun == incoming.record.offset:
        # This process began it and is still there: it was the infrastructure that failed.
        return incoming
    before = await sql.run(unit.begin_attempt, incoming)
    ending = await sql.run(unit.rehearse, incoming) if before else ""
    if reason := _why_not(before, ending):
        return replace(incoming, message=None, cause="kills-the-process", reason=reason, order_id=incoming.key)
    position.begun = incoming.record.offset
    return incoming


def _why_not(before: int, ending: str) -> str:
    if ending:
        return f"deciding it ends a process ({ending}), as was seen in a rehearsal"
    if before >= UNWITNESSED:
        return f"{before} processes ended while they were deciding it"
    return ""
