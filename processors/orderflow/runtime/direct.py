"""Decide one message at once, inside a transaction of the caller's: how the order API changes an order.

The API writes orders beside the processor. What keeps the two apart is the order's version: the row is locked while it
is decided on, and the processor's cache notices that its version has moved.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime import inbox, outbox
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.clock import Clock
from orderflow.runtime.context import Context
from orderflow.runtime.database import assert_allowed
from orderflow.runtime.incoming import from_here
from orderflow.runtime.recorder import Recorder
from orderflow.runtime.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Applied:
    """A message that was decided, and the rows that its decision put into the outbox."""

    decision: Decision[Any]
    outbox: tuple[OutboxRow, ...]
    blocked: dict[str, set[str]]


class Direct:
    """Decides messages of one context under ``revision``."""

    def __init__(self, context: Context[Any], clock: Clock, revision: str, sampling: Sampling | None = None) -> None:
        self.context = context
        self._clock = clock
        self._revision = revision
        self._sampling = sampling or Sampling()

    def apply(self, connection: Connection, message: Message, traceparent: str | None = None) -> Applied:
        """Decide ``message`` and record the decision; the caller commits.

        Raises:
            Refused: the message asks for what cannot be; roll back.
            RevisionRemoved: this revision may not decide any more.
            StaleState, sqlalchemy.exc.DBAPIError: somebody else was faster, or the store failed; try again.
        """
        now = self._clock.now()
        assert_allowed(connection, self._revision)
        incoming = from_here(message, traceparent)
        recorder = Recorder(
            self.context,
            connection,
            cached={},
            owner=None,
            revision=self._revision,
            sampling=self._sampling,
            now=now,
        )
        recorder.read([message])
        decision = recorder.decide(incoming)
        recorded = recorder.write()
        inbox.insert(connection, [inbox.row(incoming, self.context.name, decision.outcome, now)])
        mine = {row.event_id for row in recorded.outbox}
        waiting = outbox.blocking(connection, {row.key for row in recorded.outbox})
        blocked = {key: others for key, ids in waiting.items() if (others := ids - mine)}
        return Applied(decision, recorded.outbox, blocked)
