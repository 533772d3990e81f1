"""How many pods serve a share, and how far to go at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow_operator.rollout.placing import Room


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
