"""Orders in which things happen, for Hypothesis."""

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


def shuffled(items: Sequence[T]) -> st.SearchStrategy[list[T]]:
    """Return a strategy for these items, at most 256, in every order; the simplest is the one given.

    ``st.permutations`` makes a choice for each item, which takes longer than most of what is then done with them. Here
    all are one choice: a byte for each item, by which they are sorted.
    """
    count = len(items)
    keys = st.binary(min_size=count, max_size=count)
    return keys.map(lambda keys: [item for _, item in sorted(zip(keys, items, strict=True), key=itemgetter(0))])
