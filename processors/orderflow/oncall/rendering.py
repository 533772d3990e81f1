"""What the commands of the person on call print. Nothing is cut to the width of a terminal: it may be piped."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from orderflow.client.rendering import aligned, moment, table
from orderflow.oncall.letters import Found, Group, Sheet
from orderflow.oncall.replaying import Fate
from orderflow.oncall.waiting import OpenTask, Row

GROUP_COLUMNS = (
    "CONTEXT",
    "CAUSE",
    "PLACE",
    "LETTERS",
    "ORDERS",
    "PARKED",
    "QUARANTINED",
    "NEWEST",
    "EXAMPLE",
    "REASON",
)
LETTER_COLUMNS = ("LETTER", "CAUSE", "TYPE", "KEY", "MADE", "REPLAYS", "PARKED", "ASKED")
ROW_COLUMNS = ("MESSAGE", "TYPE", "TOPIC", "KEY", "MADE", "AGE", "PUBLISHED")
TASK_COLUMNS = ("TASK", "WHAT", "KEY", "DUE", "LATE", "FAILED", "UNCLEAR", "LAST ERROR", "AT WORK")
FATE_COLUMNS = ("LETTER", "TYPE", "KEY", "CAUSE", "PARKED", "OUTCOME")


def groups_table(groups: Sequence[Group]) -> str:
    """Return one line per group."""
    return table(
        GROUP_COLUMNS,
        [
            (
                group.context,
                group.cause,
                group.stack_hash or "-",
                str(group.letters),
                str(group.orders),
                str(group.parked),
                str(group.quarantined),
                moment(group.newest),
                group.example,
                group.reason,
            )
            for group in groups
        ],
    )


def letters_table(letters: Sequence[Found]) -> str:
    """Return one line per letter."""
    return table(
        LETTER_COLUMNS,
        [
            (
                letter.name,
                letter.cause,
                letter.event_type or "-",
                letter.key or "-",
                moment(letter.created_at),
                str(letter.replays),
                str(letter.parked),
                f"{letter.asked.action} by {letter.asked.by}" if letter.asked else "-",
            )
            for letter in letters
        ],
    )


def letter_sheet(sheet: Sheet) -> str:
    """Return all there is to say about a letter, one thing per line."""
    return "\n".join(aligned(line, (8,)) for line in _facts(sheet))


def _facts(sheet: Sheet) -> Iterator[tuple[str, str]]:
    letter = sheet.letter
    yield "letter", f"{letter.name}, {letter.status}"
    yield "cause", f"{letter.cause}: {letter.reason}"
    if letter.stack_hash:
        yield "place", letter.stack_hash
    yield "message", f"{letter.event_type or 'of an unknown type'} {letter.event_id}"
    yield "key", letter.key or "none"
    yield "from", f"{letter.topic}[{letter.partition}]@{letter.offset}"
    yield "made", f"{moment(letter.created_at)} by revision {letter.revision}"
    if letter.tried_at is not None:
        yield "replays", f"{letter.replays} failed; last replayed or let go {moment(letter.tried_at)}"
    if letter.asked is not None:
        asked = letter.asked
        yield "asked", f"{asked.action} by {asked.by}, due {moment(asked.due_at)}: {asked.reason}"
    for name, value in sheet.headers.items():
        yield "header", f"{name}: {value}"
    yield "payload", f"{sheet.payload} ({sheet.size} bytes, personal data masked)"
    for waiting in sheet.behind:
        yield "behind", f"{waiting.event_type} {waiting.event_id}, since {moment(waiting.since)}"
    for deed in sheet.deeds:
        yield "act", f"{moment(deed.at)} {deed.by}: {deed.before} -> {deed.after}, {deed.detail}"


def fates_table(fates: Sequence[Fate]) -> str:
    """Return one line per letter, and how many came to what."""
    lines = table(
        FATE_COLUMNS,
        [
            (
                fate.letter.name,
                fate.letter.event_type or "-",
                fate.letter.key or "-",
                fate.letter.cause,
                str(fate.letter.parked),
                fate.outcome,
            )
            for fate in fates
        ],
    )
    return f"{lines}\n{counted(fate.outcome.partition(':')[0] for fate in fates)}"


def rows_table(rows: Sequence[Row], now: datetime) -> str:
    """Return one line per message of an outbox."""
    return table(
        ROW_COLUMNS,
        [
            (
                row.name,
                row.event_type,
                row.topic,
                row.key or "-",
                moment(row.created_at),
                _seconds(row.created_at, now),
                moment(row.published_at) if row.published_at else "-",
            )
            for row in rows
        ],
    )


def tasks_table(tasks: Sequence[OpenTask], now: datetime) -> str:
    """Return one line per open task."""
    return table(
        TASK_COLUMNS,
        [
            (
                task.name,
                task.what,
                task.key,
                moment(task.due_at),
                _seconds(task.due_at, now) if task.overdue else "-",
                str(task.attempts),
                "yes" if task.unclear else "-",
                task.last_error or "-",
                task.claimed_by or "-",
            )
            for task in tasks
        ],
    )


def counted(outcomes: Iterable[str]) -> str:
    """Return how often each outcome comes."""
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(Counter(outcomes).items()))


def _seconds(start: datetime, end: datetime) -> str:
    return f"{max(0, int((end - start).total_seconds()))} s"
