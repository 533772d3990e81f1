"""How many pods serve a share, and how far to go at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow_operator.rollout.model import Asked, ProcessorRollout, ProcessorSeen, RevisionSeen
from orderflow_operator.rollout.placing import Room, place

EVERYTHING = Asked(replicas=4, partitions=None)


@pytest.mark.parametrize(
    ("room", "share", "target", "stable"),
    [
        pytest.param(Room(8, 4, 4, 1), 2, 1, 4, id="there is room for one more"),
        pytest.param(Room(8, 4, 4, 1), 4, 2, 3, id="one makes room"),
        pytest.param(Room(4, 4, 4, 1), 1, 1, 3, id="each has a partition, so one has to go first"),
        pytest.param(Room(4, 1, 1, 0), 2, 1, 1, id="each has at least one pod"),
        pytest.param(Room(3, 2, 2, 0), 2, 1, 1, id="without a surge they share"),
        pytest.param(Room(8, 4, 4, 1), 8, 4, 0, id="all"),
        pytest.param(Room(12, 2, 6, 1), 6, 3, 2, id="the new one is larger"),
    ],
)
def test_pods_follow_partitions(room: Room, share: int, target: int, stable: int) -> None:
    assert (room.target_pods(share), room.stable_pods(share)) == (target, stable)


rooms = st.integers(1, 40).flatmap(
    lambda partitions: st.builds(
        Room, st.just(partitions), st.integers(1, partitions), st.integers(1, partitions), st.integers(0, 5)
    )
)


@given(rooms, st.data())
def test_no_share_has_more_pods_than_partitions_nor_than_there_may_be(room: Room, data: st.DataObject) -> None:
    share = data.draw(st.integers(1, room.partitions))
    target, stable = room.target_pods(share), room.stable_pods(share)
    assert 1 <= target <= share
    assert stable <= room.partitions - share
    assert (stable > 0) == (share < room.partitions)
    assert target + stable <= max(2, room.ceiling)


@given(rooms, st.data())
def test_every_goal_is_reached(room: Room, data: st.DataObject) -> None:
    goal = data.draw(st.integers(1, room.partitions))
    share = 0
    while share < goal:
        further = room.next_share(share, goal)
        assert share < further <= goal
        assert further == share + 1 or room.target_pods(further) - room.target_pods(share) <= max(1, room.surge)
        share = further


def placed(processor: ProcessorRollout, **seen: RevisionSeen) -> dict[str, Asked]:
    return place(processor, ProcessorSeen(revisions=dict(seen)), partitions=4, now=0.0)


def all_in(pods: int) -> RevisionSeen:
    return RevisionSeen(pods=pods, ready=pods, members=pods)


def test_who_may_still_be_in_the_group_counts_until_it_is_seen_to_be_out() -> None:
    back = ProcessorRollout(stable="old", replicas=4, asked={"old": Asked(replicas=3, partitions=None), "new": Asked()})
    still = placed(back, old=all_in(3), new=RevisionSeen(pods=1, members=1))
    assert still["old"] == Asked(replicas=3, partitions=None)
    assert placed(back, old=all_in(3), new=RevisionSeen(pods=1))["old"] == EVERYTHING


def handing_over(old: Asked, *, blue_green: bool = True) -> ProcessorRollout:
    return ProcessorRollout(
        stable="old",
        replicas=2,
        target="new",
        target_replicas=2,
        stage="Stepping",
        blue_green=blue_green,
        partitions=4,
        asked={"old": old, "new": Asked(replicas=2)},
    )


def test_the_new_one_waits_until_the_old_one_has_left_even_if_there_were_room() -> None:
    warm = RevisionSeen(pods=2, ready=2)
    first = placed(handing_over(Asked(replicas=2, partitions=None)), old=all_in(2), new=warm)
    assert first == {"old": Asked(replicas=2), "new": Asked(replicas=2)}
    leaving = placed(handing_over(Asked(replicas=2)), old=RevisionSeen(pods=2, ready=2, members=1), new=warm)
    assert leaving["new"] == Asked(replicas=2)
    gone = placed(handing_over(Asked(replicas=2)), old=warm, new=warm)
    assert gone == {"old": Asked(replicas=2), "new": Asked(replicas=2, partitions=None)}


def test_pods_that_wait_outside_join_together_or_not_at_all() -> None:
    back = ProcessorRollout(stable="old", replicas=4, asked={"old": Asked(replicas=4), "new": Asked()})
    outside = RevisionSeen(pods=4, ready=4)
    assert placed(back, old=outside, new=RevisionSeen(pods=1, members=1))["old"] == Asked(replicas=4)
    assert placed(back, old=outside)["old"] == EVERYTHING


def test_a_pod_that_a_deployment_has_not_made_yet_counts() -> None:
    """Its replicas were just lowered: it may be made and end again."""
    sharing = ProcessorRollout(
        stable="old",
        replicas=4,
        target="new",
        target_replicas=4,
        stage="Stepping",
        partitions=1,
        asked={"old": EVERYTHING, "new": Asked(replicas=1)},
    )
    asked = placed(sharing, old=all_in(3), new=RevisionSeen(pods=1, ready=1))
    assert asked == {"old": Asked(replicas=3, partitions=None), "new": Asked(replicas=1)}


def test_a_share_is_given_only_to_pods_that_have_checked_themselves() -> None:
    sharing = ProcessorRollout(
        stable="old",
        replicas=2,
        target="new",
        target_replicas=2,
        stage="Stepping",
        partitions=2,
        asked={"old": Asked(replicas=2, partitions=None), "new": Asked(replicas=1)},
    )
    assert placed(sharing, old=all_in(2), new=RevisionSeen(pods=1))["new"].partitions == 0
    assert placed(sharing, old=all_in(2), new=RevisionSeen(pods=1, ready=1))["new"].partitions == 2


def test_what_is_kept_warm_is_kept_until_its_time() -> None:
    warm = ProcessorRollout(
        stable="new",
        replicas=4,
        asked={"new": EVERYTHING, "old": Asked(replicas=4)},
        warm_until={"old": 100.0},
    )
    seen = ProcessorSeen(revisions={"new": all_in(4), "old": RevisionSeen(pods=4, ready=4)})
    assert place(warm, seen, 4, now=99.0)["old"] == Asked(replicas=4)
    assert place(warm, seen, 4, now=100.0)["old"] == Asked()
