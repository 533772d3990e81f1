"""How a group's members share the partitions."""

from hypothesis import given
from hypothesis import strategies as st

from orderflow.runtime.sharing import Member, divide, limits

members = st.lists(
    st.builds(
        Member,
        name=st.sampled_from("abcdef"),
        revision=st.sampled_from(("old", "new", "newer")),
        limit=st.none() | st.integers(0, 9),
        had=st.frozensets(st.integers(0, 11), max_size=6),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda member: member.name,
)


def counts(divided: dict[str, list[int]]) -> dict[str, int]:
    return {name: len(numbers) for name, numbers in divided.items()}


def test_without_limits_everybody_has_as_many() -> None:
    assert counts(divide(8, [Member("a"), Member("b"), Member("c")])) == {"a": 3, "b": 3, "c": 2}


def test_a_revision_has_exactly_its_limit_and_the_others_the_rest() -> None:
    group = [Member("a", "old"), Member("b", "old"), Member("c", "new", 3), Member("d", "new", 3)]
    assert counts(divide(8, group)) == {"a": 3, "b": 2, "c": 2, "d": 1}


def test_everybody_keeps_what_he_had_as_far_as_it_is_due_to_him() -> None:
    had = [Member("a", "old", had=frozenset({0, 2, 4, 6})), Member("b", "old", had=frozenset({1, 3, 5, 7}))]
    divided = divide(8, [*had, Member("c", "new", 2)])
    assert set(divided["a"]) < {0, 2, 4, 6}
    assert set(divided["b"]) < {1, 3, 5, 7}
    assert divided["c"] == [6, 7]


def test_nobody_takes_the_rest_on_his_own_account() -> None:
    assert divide(4, [Member("c", "new", 1)]) == {"c": [0]}


def test_while_not_all_have_heard_the_least_limit_holds() -> None:
    assert limits([Member("a", "new", 3), Member("b", "new", None), Member("c", "new", 1)]) == {"new": 1}


@given(st.integers(1, 12), members)
def test_a_partition_has_one_owner_and_no_limit_is_exceeded(partitions: int, group: list[Member]) -> None:
    divided = divide(partitions, group)
    owned = [number for numbers in divided.values() for number in numbers]
    assert len(owned) == len(set(owned))
    assert set(owned) <= set(range(partitions))
    bound = limits(group)
    left = partitions
    for revision, limit in sorted(bound.items()):
        mine = sum(len(divided[member.name]) for member in group if member.revision == revision)
        assert mine == min(limit, left)
        left -= mine
    free = [len(divided[member.name]) for member in group if member.revision not in bound]
    assert sum(free) == (left if free else 0)
    assert not free or max(free) - min(free) <= 1


@given(st.integers(1, 12), members)
def test_whoever_leads_divides_alike(partitions: int, group: list[Member]) -> None:
    assert divide(partitions, group) == divide(partitions, group[::-1])


@given(st.integers(1, 12), members)
def test_dividing_again_moves_nothing(partitions: int, group: list[Member]) -> None:
    once = divide(partitions, group)
    again = [Member(member.name, member.revision, member.limit, frozenset(once[member.name])) for member in group]
    assert divide(partitions, again) == once
