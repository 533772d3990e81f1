"""What must be true of a run that has come to rest.

First what ships: every promise of :mod:`orderflow.verification`. Then what only somebody who has seen the whole run can
know: in which order messages came onto the topics, what was undecodable from the start, when a revision was removed,
which replies lay unread when a deadline fired.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from orderflow.simulation.store import PROVIDERS, WITNESS
from orderflow.simulation.world import World
from orderflow.spec.resource import CONTEXTS
from orderflow.verification import verify

_OUTBOX = "SELECT event_id, key, topic, event_type FROM outbox ORDER BY id"
_LETTERS = 'SELECT topic, partition, "offset", cause, reason, key, event_type FROM dead_letters'
_DECIDED = 'SELECT event_id, count(*) FROM decisions GROUP BY "group", event_id HAVING count(*) > 1'


def breaches_of(world: World) -> Iterator[str]:
    """Yield everything that must not be, as ``name: detail``."""
    yield from world.story.breaches
    yield from _promises(world)
    yield from _letters(world)
    for name in CONTEXTS:
        yield from (str(what) for (what,) in world.store.peek(name, f"SELECT what FROM {WITNESS}"))  # noqa: S608
        yield from _order_of_publication(world, name)
        yield from _decided_twice(world, name)
        yield from _decided_by_removed(world, name)


def _promises(world: World) -> Iterator[str]:
    engines = world.store.engines
    databases = {name: engine for name, engine in engines.items() if name != PROVIDERS}
    report = verify(databases, [engines[PROVIDERS]], world.contexts, now=world.clock.now())
    yield from (f"verified: {problem}" for problem in report.problems)
    for promise in report.promises:
        if not promise.ok:
            first = promise.violations[0]
            yield f"{promise.name}: {first.order_id or first.subject}: {first.detail}"
    if report.totals.live:
        yield f"every-order-ends: {report.totals.live} orders have not ended"


def _letters(world: World) -> Iterator[str]:
    """A message is dead-lettered for being mangled, and for nothing else."""
    for name in CONTEXTS:
        for topic, partition, offset, cause, reason, key, kind in world.store.peek(name, _LETTERS):
            log = world.topics.places.get((str(topic), int(str(partition))), [])
            if not (0 <= int(str(offset)) < len(log) and log[int(str(offset))].mangled):
                yield f"only-bad-messages-die: {name} gave up on {kind} of {key}: {cause}: {reason}"


def _order_of_publication(world: World, context: str) -> Iterator[str]:
    """Of one key, messages come onto a topic for the first time in the order in which they were recorded."""
    first: dict[str, int] = {}
    for number, appended in enumerate(world.topics.appended):
        first.setdefault(appended.event_id, number)
    latest: dict[tuple[str, str], tuple[int, str]] = {}
    for event_id, key, topic, kind in world.store.peek(context, _OUTBOX):
        if event_id not in first:
            continue
        number = first[str(event_id)]
        before = latest.get((str(key), str(topic)))
        if before is not None and before[0] > number:
            yield f"a-keys-order: {kind} of {key} was published before {before[1]}, which was recorded before it"
        else:
            latest[str(key), str(topic)] = (number, str(kind))


def _decided_twice(world: World, context: str) -> Iterator[str]:
    for event_id, times in world.store.peek(context, _DECIDED):
        yield f"decided-once: {context} has decided {event_id} {times} times"


def _decided_by_removed(world: World, context: str) -> Iterator[str]:
    """Nothing is decided by a revision that has been removed."""
    last = world.removed.get(context)
    if last is None:
        return
    query = "SELECT revision, count(*) FROM decisions WHERE id > ? AND revision = 'r1' GROUP BY revision"
    for revision, times in world.store.peek(context, query, last):
        yield f"removed-is-removed: {context} has made {times} decisions by {revision} after its removal"


def summary(breaches: Iterable[str]) -> str:
    """Return the names of what was broken, each once, with how often."""
    names = Counter(breach.partition(":")[0] for breach in breaches)
    return ", ".join(f"{name} ({times})" if times > 1 else name for name, times in names.items())
