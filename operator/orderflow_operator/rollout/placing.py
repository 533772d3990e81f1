"""How many pods each revision of a processor is to have now, and how many partitions they.

One bound holds whatever else is wanted: all revisions together never have more pods in the consumer group than there
are partitions, counting every pod that may be in it. So a change goes in turns: first those who leave, then, when they
have been seen to be gone, those who come. Pods outside the group do not count: they check themselves, or are kept
warm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orderflow_operator.rollout.model import Asked, ProcessorRollout, ProcessorSeen, RevisionSeen

NOBODY = Asked()
UNSEEN = RevisionSeen()


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to share: partitions, and pods.

    Attributes:
        stable, target: how many pods each revision has when it has all partitions.
        surge: pods beyond the larger of the two.
    """

    partitions: int
    stable: int
    target: int
    surge: int

    @property
    def ceiling(self) -> int:
        """The most pods at a time. There are at least two: each revision has one while both have partitions."""
        return max(2, max(self.stable, self.target) + self.surge)

    def target_pods(self, share: int) -> int:
        """Return how many pods serve ``share`` partitions of the target: each about as many as at the end.

        While stable has partitions there is room for a pod of its own, too.
        """
        if share >= self.partitions:
            return self.target
        return min(share, -(-share * self.target // self.partitions), self.ceiling - 1)

    def stable_pods(self, share: int) -> int:
        """Return how many pods are left to stable while the target has ``share`` partitions."""
        if share >= self.partitions:
            return 0
        return max(1, min(self.stable, self.partitions - share, self.ceiling - self.target_pods(share)))

    def next_share(self, now: int, goal: int) -> int:
        """Return how far to go at once from ``now`` to ``goal``: as far as the pods that may be added carry."""
        pods = self.target_pods(now) + max(1, self.surge)
        return next((share for share in range(goal, now, -1) if self.target_pods(share) <= pods), min(goal, now + 1))


def room_of(processor: ProcessorRollout, partitions: int) -> Room:
    """Return what a processor's revisions have to share."""
    stable, target = (min(number, partitions) for number in (processor.replicas, processor.target_replicas))
    surge = min(stable, target) if processor.blue_green else processor.max_surge
    return Room(partitions, stable, max(1, target), surge)


def seen_of(seen: ProcessorSeen, revision: str) -> RevisionSeen:
    """Return what is seen of one revision."""
    return seen.revisions.get(revision, UNSEEN)


def settled(processor: ProcessorRollout, seen: ProcessorSeen, partitions: int) -> bool:
    """Tell whether the broker has given everybody the share that is meant, and everybody's pods are ready."""
    room, share = room_of(processor, partitions), processor.partitions
    target, stable = seen_of(seen, processor.target), seen_of(seen, processor.stable)
    if target.assigned != share or processor.asked.get(processor.target, NOBODY).partitions == 0:
        return False
    if share >= partitions:
        return target.ready >= room.target and stable.members == 0
    return target.ready >= room.target_pods(share) and stable.assigned == partitions - share and stable.ready > 0


def restored(processor: ProcessorRollout, seen: ProcessorSeen, partitions: int) -> bool:
    """Tell whether stable has every partition again and all of its pods, and nobody else is in the group."""
    stable = seen_of(seen, processor.stable)
    others = (one for revision, one in seen.revisions.items() if revision != processor.stable)
    whole = stable.assigned == partitions and stable.ready >= min(processor.replicas, partitions)
    return whole and not any(one.members for one in others)


def place(
    processor: ProcessorRollout, seen: ProcessorSeen, partitions: int, now: float, relief: int = 0
) -> dict[str, Asked]:
    """Return what to ask of each revision's pods now.

    Args:
        relief: so many pods stable may have in the middle of a rollout, because its lag has become an emergency.
    """
    wants = _wanted(processor, seen, partitions, relief)
    for revision in processor.asked.keys() | seen.revisions.keys():
        if revision not in wants:
            wants[revision] = _leaving(processor, revision, now)
    asked = _within(processor.asked, wants, seen, partitions)
    return {revision: one for revision, one in asked.items() if one != NOBODY or seen_of(seen, revision).pods}


def _leaving(processor: ProcessorRollout, revision: str, now: float) -> Asked:
    if processor.warm_until.get(revision, 0.0) > now:
        return Asked(replicas=processor.asked.get(revision, NOBODY).replicas)
    return NOBODY


def _wanted(processor: ProcessorRollout, seen: ProcessorSeen, partitions: int, relief: int) -> dict[str, Asked]:
    """Return what is wanted of stable (first) and of the target, as if there were room for all."""
    room = room_of(processor, partitions)
    if not processor.target or processor.stage in {"Waiting", "Shadow"}:
        return {processor.stable: Asked(replicas=room.stable, partitions=None)} if processor.stable else {}
    if not processor.stable:
        return {processor.target: Asked(replicas=room.target, partitions=None)}
    if processor.stage != "Starting" and processor.partitions >= partitions:
        return _handing_over(processor, seen, room)
    stable, target = _sharing(processor, seen, room)
    if relief > stable.replicas:
        stable = Asked(replicas=min(relief, partitions - processor.partitions), partitions=None)
    return {processor.stable: stable, processor.target: target}


def _sharing(processor: ProcessorRollout, seen: ProcessorSeen, room: Room) -> tuple[Asked, Asked]:
    """Return what is wanted while both have partitions, or while the target's pods start outside the group."""
    share, asked = processor.partitions, processor.asked.get(processor.target, NOBODY)
    pods = room.target_pods(share)
    starting = processor.stage == "Starting"
    stable = min(room.stable, max(1, room.ceiling - pods)) if starting else room.stable_pods(share)
    free = room.ceiling - _most(processor.asked.get(processor.stable, NOBODY), seen_of(seen, processor.stable))
    may_join = not starting and seen_of(seen, processor.target).ready >= pods
    target = Asked(replicas=min(pods, max(free, asked.replicas)), partitions=share if may_join else asked.partitions)
    return Asked(replicas=stable, partitions=None), target


def _handing_over(processor: ProcessorRollout, seen: ProcessorSeen, room: Room) -> dict[str, Asked]:
    """Return what is wanted at the end: stable leaves the group, and then the target has everything."""
    stable, target = seen_of(seen, processor.stable), seen_of(seen, processor.target)
    before = processor.asked.get(processor.stable, NOBODY)
    ours = processor.asked.get(processor.target, NOBODY)
    drained = stable.members == 0 and before.partitions == 0
    taken = drained and target.assigned >= room.partitions
    keep = before.replicas if processor.blue_green or not taken else 0
    pods = room.target if processor.blue_green or taken else max(1, ours.replicas)
    share = None if drained or not processor.blue_green else ours.partitions
    return {processor.stable: Asked(replicas=keep), processor.target: Asked(replicas=pods, partitions=share)}


def _most(asked: Asked, seen: RevisionSeen) -> int:
    return max(asked.replicas, seen.pods)


def _within(
    before: Mapping[str, Asked], wants: Mapping[str, Asked], seen: ProcessorSeen, partitions: int
) -> dict[str, Asked]:
    """Return what is wanted as far as there is room in the group."""
    asked = {revision: want for revision, want in wants.items() if want.partitions == 0}
    for revision, want in wants.items():
        if revision not in asked:
            others = sum(
                _members(before.get(other, NOBODY), asked.get(other, before.get(other, NOBODY)), seen_of(seen, other))
                for other in wants.keys() - {revision}
            )
            now = before.get(revision, NOBODY)
            asked[revision] = _joining(now, want, seen_of(seen, revision), partitions - others)
    return asked


def _members(before: Asked, after: Asked, seen: RevisionSeen) -> int:
    """Return how many of a revision's pods may be in the group between two looks."""
    if before.partitions == 0 and after.partitions == 0:
        return seen.members
    return max(before.replicas, after.replicas, seen.pods)


def _joining(now: Asked, want: Asked, seen: RevisionSeen, room: int) -> Asked:
    if now.partitions != 0:
        return Asked(replicas=min(want.replicas, max(room, now.replicas)), partitions=want.partitions)
    if room > 0 and _most(now, seen) <= room:
        return Asked(replicas=min(want.replicas, room), partitions=want.partitions)
    return Asked(replicas=want.replicas)
