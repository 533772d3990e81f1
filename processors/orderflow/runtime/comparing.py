"""Holding a message that was read again against what was recorded of it. Pure.

Of every message the inbox has the hash of its bytes. Of a sampled one it has the decision with its input, too: it is
decided again, and what the decision asks for is looked up in the outbox, among the tasks and in the audit trail.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from orderflow.contracts import codec
from orderflow.contracts.decision import Decision
from orderflow.runtime.context import Context
from orderflow.runtime.deciding_again import Kept, decided_again, difference
from orderflow.runtime.inbox import Known
from orderflow.runtime.incoming import Incoming
from orderflow.runtime.replay_report import Verdict

Line = tuple[str, str]
"""Before and after, of the audit trail."""


@dataclass(frozen=True, slots=True)
class KeptAt:
    """A recorded decision, and when it was recorded."""

    kept: Kept
    at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database holds of a few messages and of what came of them.

    Attributes:
        inbox: by event id.
        buried: (topic, partition, offset) of messages that have a dead letter.
        decisions: by event id, where the decision was kept.
        outbox: payloads by event id. ``tasks``: bodies by task id. ``trail``: lines by the event id of their cause.
        horizons: per table, rows of before may have been dropped.
    """

    inbox: Mapping[str, Known] = field(default_factory=dict)
    buried: frozenset[tuple[str, int, int]] = frozenset()
    decisions: Mapping[str, KeptAt] = field(default_factory=dict)
    outbox: Mapping[str, bytes] = field(default_factory=dict)
    tasks: Mapping[str, bytes] = field(default_factory=dict)
    trail: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    horizons: Mapping[str, datetime] = field(default_factory=dict)

    def may_lack(self, table: str, since: datetime) -> bool:
        """Tell whether a row of ``table`` from ``since`` may have been dropped."""
        return table in self.horizons and since < self.horizons[table]


@dataclass(slots=True)
class Judgement:
    """What reading a message again has shown; ``detail`` is empty where it is as recorded."""

    verdict: Verdict
    detail: str = ""
    decided_again: bool = False
    outputs: int = 0
    outputs_dropped: int = 0


def judge(context: Context[Any], incoming: Incoming, at: datetime, recorded: Recorded) -> Judgement:
    """Say how a message stands to what was recorded.

    Args:
        at: when the broker took it, which is before it was processed.
    """
    message, record = incoming.message, incoming.record
    if message is not None and type(message) not in context.takes.get(record.topic, ()):
        return Judgement("passed-by")
    known = recorded.inbox.get(incoming.event_id)
    if (record.topic, record.partition, record.offset) in recorded.buried:
        # Whatever it is, it was seen and given up, and its bytes are kept.
        return Judgement("same")
    if known is None:
        if recorded.may_lack("processed_events", at):
            return Judgement("dropped", "is not in the inbox, from which messages of its time were dropped")
        return Judgement("unknown", "is below the ledger and not in the inbox")
    if known.digest != incoming.digest:
        return Judgement("unlike", "was recorded with other bytes")
    return _decided(context, incoming, recorded)


def _decided(context: Context[Any], incoming: Incoming, recorded: Recorded) -> Judgement:
    found = recorded.decisions.get(incoming.event_id)
    if found is None or incoming.message is None:
        return Judgement("same")
    if fault := _other_input(context, incoming, found.kept) or difference(context, found.kept):
        return Judgement("unlike", fault, decided_again=True)
    judgement = Judgement("same", decided_again=True)
    decision = decided_again(context, found.kept)
    for table, fault in _outputs(incoming, decision, recorded):
        judgement.outputs += 1
        if fault and fault == _MISSING and recorded.may_lack(table, found.at):
            judgement.outputs_dropped += 1
        elif fault:
            judgement.verdict, judgement.detail = "unlike", f"{fault} {table}"
    return judgement


def _other_input(context: Context[Any], incoming: Incoming, kept: Kept) -> str:
    """Say that the recorded decision is about something else. What is completed before it is decided may differ."""
    assert incoming.message is not None
    if context.prepare is not None and codec.identify(kept.message).event_id == incoming.event_id:
        return ""
    return "" if codec.encode(incoming.message) == kept.message else "was decided as another message"


_MISSING = "lacks what it asked for in the"
_OTHERWISE = "has something else than it asked for in the"


def _outputs(incoming: Incoming, decision: Decision[Any], recorded: Recorded) -> Iterator[tuple[str, str]]:
    """Yield, for each thing that the decision asks for, its table and what is wrong with its row."""
    for sent in decision.messages:
        yield "outbox", _compared(recorded.outbox.get(sent.event_id), codec.encode(sent))
    for task in decision.tasks:
        yield "tasks", _compared(recorded.tasks.get(task.task_id), msgspec.json.encode(task))
    if decision.transitions:
        asked = tuple((transition.before, transition.after) for transition in decision.transitions)
        yield "audit_trail", _compared(recorded.trail.get(incoming.event_id), asked)


def _compared(there: object, asked: object) -> str:
    if there is None:
        return _MISSING
    return "" if there == asked else _OTHERWISE
