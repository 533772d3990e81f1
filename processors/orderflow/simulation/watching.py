"""Looks on while a run happens, from where no process can look, and wakes those for whom there is something to see."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from orderflow.contracts.outcomes import StepDeadline
from orderflow.runtime.aggregates import from_cache
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.context import Context
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.ledger import Fenced, Partition
from orderflow.runtime.unit_of_work import Done
from orderflow.simulation.deadlines import too_early
from orderflow.simulation.life import LIVING, Life
from orderflow.simulation.store import PROVIDERS, Store
from orderflow.simulation.story import Story
from orderflow.simulation.topics import Topics
from orderflow.simulation.virtual_time import WallClock

SEEN: Final[Mapping[str, str]] = {
    "duplicate": "duplicate delivered",
    "parked": "message parked behind a dead letter",
    "dead": "message dead-lettered",
    "late": "message too late to change anything",
}
"""Races that an outcome tells of."""

_DIES: Final[Mapping[str, str]] = {
    "lost": "cannot commit",
    "unclear": "commits without hearing of it",
    "crash-before": "dies before its commit",
    "crash-after": "dies after its commit",
}
_REACHED: Final[Mapping[str, str]] = {
    "unclear": "commit whose outcome nobody heard",
    "crash-after": "crash between commit and publication",
}

_DUE = (
    "SELECT min(CASE WHEN claimed_by IS NULL THEN due_at ELSE max(due_at, claimed_until) END)"
    " FROM tasks WHERE status = 'open'"
)
_DUE_OF_MOVING = f"{_DUE} AND key NOT IN (SELECT key FROM dead_letters WHERE status = 'open')"  # noqa: S608
_WAITING = "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"
_REACHES = 'SELECT group_concat("offset") FROM consumed_offsets'
_AHEAD = f"SELECT ({_WAITING}), ({_DUE}), ({_REACHES})"
_LEDGER = 'SELECT topic, partition, "offset", owner FROM consumed_offsets'


class Looking(Protocol):
    """A worker that looks when there is something to see."""

    def expect_due(self) -> None:
        """Look for due tasks when there will be one."""

    def expect_relay(self) -> None:
        """Look for unpublished rows with the next look of the relay."""


class Watch:
    """Sees every commit of a run.

    Args:
        workers: those of a context that run now.
        clocks_agree: whether nobody's clock is ever wrong.

    Attributes:
        transactions: how many functions processes have run on their databases.
        commits: how many there were, per context.
    """

    def __init__(
        self,
        store: Store,
        topics: Topics,
        story: Story,
        contexts: Mapping[str, Context[Any]],
        workers: Callable[[str], Iterable[Looking]],
        *,
        clocks_agree: bool,
    ) -> None:
        self._store = store
        self._topics = topics
        self._story = story
        self._contexts = contexts
        self._workers = workers
        self._clocks_agree = clocks_agree
        self._ledgers: dict[str, dict[Partition, int]] = {name: {} for name in contexts}
        self._reaches: dict[str, object] = dict.fromkeys(contexts)
        self._waits: dict[str, bool] = dict.fromkeys(contexts, False)
        self._due: dict[str, datetime | None] = dict.fromkeys(contexts)
        self.transactions = 0
        self.commits = dict.fromkeys(contexts, 0)

    # What there is to do

    def anything_waits(self, name: str) -> bool:
        """Tell whether some row of a context's outbox is unpublished."""
        return self._waits[name]

    def due_in(self, name: str, clock: WallClock) -> float | None:
        """Return in how many seconds the next task of a context is due by ``clock``; ``None`` if none is open."""
        due = self._due[name]
        return clock.until(due) if due is not None else None

    def due_of_moving_in(self, name: str, clock: WallClock) -> float | None:
        """Return the same for tasks of orders that no dead letter has stopped."""
        ((due,),) = self._store.peek(name, _DUE_OF_MOVING)
        return clock.until(_moment(due)) if due else None

    def recorded(self, name: str, place: Partition) -> int:
        """Return the offset that a context's ledger holds for a partition; -1 before the first."""
        return self._ledgers[name].get(place, -1)

    def is_stale(self, name: str, key: str, entry: bytes) -> bool:
        """Tell whether a cache entry is older than the row under its key."""
        rows = self._contexts[name].aggregate
        found = self._store.peek(name, f"SELECT version FROM {rows.table.name} WHERE {rows.key} = ?", key)  # noqa: S608
        return bool(found) and found[0][0] != from_cache(entry)[0]

    # Commits

    def on_commit(self, name: str) -> str:
        """Return the fault that strikes whoever is about to commit."""
        life = LIVING.get()
        if life is None or name == PROVIDERS:
            return ""
        fault = life.fault("commit")
        if fault:
            self._story.note(life.owner, _DIES[fault])
        if fault.startswith("crash"):
            life.end()
        if fault in _REACHED:
            self._story.reach(_REACHED[fault])
        return fault

    def committed(self, name: str) -> None:
        """See what a commit has changed."""
        if name not in self._contexts:
            return
        self.commits[name] += 1
        ((waits, due, reaches),) = self._store.peek(name, _AHEAD)
        if reaches != self._reaches[name]:
            self._reaches[name] = reaches
            self._watch_ledger(name)
        self._waits[name] = bool(waits)
        self._due[name] = _moment(due) if due else None
        for worker in self._workers(name):
            if waits:
                worker.expect_relay()
            worker.expect_due()

    def _watch_ledger(self, name: str) -> None:
        """See to it that whoever goes on with a partition is its owner, and that nobody goes back."""
        life, known = LIVING.get(), self._ledgers[name]
        for topic, number, offset, owner in self._store.peek(name, _LEDGER):
            place, reached = (str(topic), int(str(number))), int(str(offset))
            before = known.get(place, -1)
            if reached == before:
                continue
            known[place] = reached
            named = f"{topic}[{number}]"
            if life is not None and life.owner != owner:
                self._story.breach(f"only-the-owner-goes-on: {life.owner} set {named} of {owner} to {reached}")
            if reached < before:
                self._story.breach(f"a-ledger-goes-on: {named} went from {before} back to {reached}")

    # What processes have done

    def sent(self, name: str, row: OutboxRow) -> None:
        """See a message that a context's process has recorded."""
        if row.event_type == StepDeadline.__name__:
            for breach in too_early(self._store, self._topics, name, row, clocks_agree=self._clocks_agree):
                self._story.breach(breach)

    def observe(self, life: Life, what: object, error: BaseException | None) -> None:
        """See what a process's SQL has returned, or has failed with."""
        self.transactions += 1
        match error:
            case Fenced():
                self._story.note(life.owner, f"is fenced: {error}")
                self._story.reach("zombie fenced")
            case RevisionRemoved():
                self._story.reach("removed revision refused")
        if isinstance(what, Done):
            self._observe_done(life, what)

    def _observe_done(self, life: Life, done: Done) -> None:
        for incoming, outcome in done.outcomes:
            if outcome == "passed-by":
                continue
            self._story.note(life.owner, f"takes {incoming.event_type or '?'} of {incoming.key}: {outcome}")
            if outcome in SEEN:
                self._story.reach(SEEN[outcome])


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
