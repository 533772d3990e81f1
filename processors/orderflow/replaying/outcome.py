"""What came of a replay, all partitions together; as text and for programs."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from orderflow.runtime.replay_report import PartReport
from orderflow.runtime.replay_rows import DONE, Part


class PartOutcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One partition: what was found in it; the status is waiting, running, done, failed or cancelled."""

    topic: str
    partition: int
    status: str
    report: PartReport


class Outcome(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a replay.

    Attributes:
        ok: whether everything was read and nothing was found to be otherwise than recorded, or unknown and left so.
        applies: whether unknown messages were to be decided.
    """

    replay_id: str
    context: str
    ok: bool
    applies: bool
    since: datetime | None
    until: datetime | None
    parts: tuple[PartOutcome, ...]

    def total(self, field: str) -> int:
        """Return the sum of one of the reports' counts."""
        return sum(getattr(part.report, field) for part in self.parts)


def outcome_of(context: str, parts: Sequence[Part]) -> Outcome:
    """Return what came of the replay with these parts, at least one."""
    first = parts[0]
    return Outcome(
        replay_id=first.replay_id,
        context=context,
        ok=all(part.status == DONE and part.report.is_clean for part in parts),
        applies=first.applies,
        since=first.since,
        until=first.until,
        parts=tuple(
            PartOutcome(topic=part.topic, partition=part.partition, status=part.status, report=part.report)
            for part in parts
        ),
    )


def render(outcome: Outcome) -> str:
    """Return the outcome as text: a line per partition, what has to be looked at, and the verdict."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    counts = f"{'read':>10}{'same':>10}{'again':>10}{'passed by':>11}{'dropped':>9}{'unlike':>8}{'unknown':>9}"
    yield f"{'partition':<30}{counts}"
    for part in outcome.parts:
        yield from _part(part)
    yield ""
    for part in outcome.parts:
        yield from _findings(part)
    again, outputs = outcome.total("decided_again"), outcome.total("outputs")
    yield f"{again:,} decisions were made again, and {outputs:,} rows that they asked for looked up"
    if lacking := outcome.total("outputs_dropped"):
        yield f"{lacking:,} such rows were not there and may have been dropped after their time"
    yield _verdict(outcome)


def _part(part: PartOutcome) -> Iterator[str]:
    found = part.report
    place = f"{part.topic}[{part.partition}]"
    counts = f"{found.read:>10,}{found.same:>10,}{found.decided_again:>10,}{found.passed_by:>11,}{found.dropped:>9,}"
    yield f"{place:<30}{counts}{found.unlike:>8,}{found.unknown + found.applied:>9,}"
    if part.status != DONE:
        yield f"    {part.status}{': ' + found.reason if found.reason else ''}"


def _findings(part: PartOutcome) -> Iterator[str]:
    for finding in part.report.findings:
        place = f"{part.topic}[{part.partition}]@{finding.offset}"
        what = finding.event_type or "a message"
        yield f"{finding.verdict}: {what} {finding.event_id} of {finding.key} at {place} {finding.detail}"
    found = part.report
    hidden = found.unlike + found.unknown + found.applied + found.dropped - len(found.findings)
    if hidden > 0:
        yield f"and {hidden:,} more in {part.topic}[{part.partition}]"


def _verdict(outcome: Outcome) -> str:
    if any(part.status != DONE for part in outcome.parts):
        return f"replay {outcome.replay_id} did not come to its end"
    unlike, unknown, applied = (outcome.total(name) for name in ("unlike", "unknown", "applied"))
    if unlike or unknown:
        hint = ": --apply decides them" if unknown and not outcome.applies else ""
        return f"{unlike:,} messages are otherwise than recorded, {unknown:,} are unknown{hint}"
    read, same = outcome.total("read"), f"{outcome.total('same'):,} are as recorded"
    decided = f", {applied:,} were unknown and are decided now" if applied else ""
    return f"{read:,} messages read again: {same}{decided}"
