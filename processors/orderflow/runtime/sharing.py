"""How a group's members share the partitions when some of them may have no more than so many together. Pure.

A revision on its way in has a limit: so many partitions, whoever of it is there. What it may have it has, exactly; the
rest goes to those without a limit, evenly. If nobody without a limit is there the rest waits: a limit says how much a
new revision may be trusted with, and a stable one that is away for a moment does not change that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the group.

    Attributes:
        limit: how many partitions all members of its revision may have together; ``None``: as many as there are.
        had: the partitions that it has been given before.
    """

    name: str
    revision: str = ""
    limit: int | None = None
    had: frozenset[int] = field(default=frozenset())


def divide(partitions: int, members: Iterable[Member]) -> dict[str, list[int]]:
    """Return the partitions (from 0 on) of each member, by name; a pure function of the members, in any order.

    Within what everybody is due, everybody keeps what he had.
    """
    ordered = sorted(members, key=lambda member: member.name)
    due = _due(partitions, ordered)
    given: dict[str, list[int]] = {}
    taken: set[int] = set()
    for member in _by_claim(ordered):
        kept = [number for number in sorted(member.had) if number < partitions and number not in taken]
        given[member.name] = kept[: due[member.name]]
        taken.update(given[member.name])
    left = iter(sorted(set(range(partitions)) - taken))
    for member in ordered:
        mine = given[member.name]
        mine.extend(islice(left, due[member.name] - len(mine)))
        mine.sort()
    return given


def limits(members: Iterable[Member]) -> dict[str, int]:
    """Return the limit of each revision that has one; while not all have heard of a change, the least holds."""
    found: dict[str, int] = {}
    for member in members:
        if member.limit is not None:
            found[member.revision] = min(member.limit, found.get(member.revision, member.limit))
    return found


def _due(partitions: int, members: Sequence[Member]) -> Mapping[str, int]:
    """Return how many partitions each member is to have."""
    due: dict[str, int] = {}
    left = partitions
    bound = limits(members)
    for revision in sorted(bound):
        mine = [member for member in members if member.revision == revision]
        share = min(left, bound[revision])
        due |= _evenly(share, mine)
        left -= share
    return due | _evenly(left, [member for member in members if member.revision not in bound])


def _evenly(share: int, members: Sequence[Member]) -> dict[str, int]:
    """Return so many partitions over the members; those who have more already have the odd ones."""
    if not members:
        return {}
    each, odd = divmod(share, len(members))
    return {member.name: each + (place < odd) for place, member in enumerate(_by_claim(members))}


def _by_claim(members: Sequence[Member]) -> list[Member]:
    return sorted(members, key=lambda member: (-len(member.had), member.name))
