"""One player for all tests that play: its databases are migrated once."""

from collections.abc import Iterator

import pytest

from orderflow.simulation.playing import Player, player


@pytest.fixture(scope="session")
def in_memory() -> Iterator[Player]:
    """Plays runs on a store in memory."""
    with player("memory") as one:
        yield one
