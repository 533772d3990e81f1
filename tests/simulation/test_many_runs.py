"""The runs of the pipeline: 300 on files, 2,000 in memory. No promise is broken, and every race is really reached."""

import os
from collections import Counter

import pytest

from orderflow.simulation.playing import Outcome, play
from orderflow.simulation.races import RACES
from orderflow.simulation.rendering import render

RUNS = {"file": range(300), "memory": range(300, 2_300)}

reached: Counter[str] = Counter()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_every_promise_is_kept_in_every_run(kind: str) -> None:
    broken: list[Outcome] = []
    for outcome in play(RUNS[kind], "file" if kind == "file" else "memory", os.cpu_count() or 1):
        reached.update(outcome.reached)
        broken += [] if outcome.ok else [outcome]
    assert not broken, f"{len(broken)} runs: {[each.seed for each in broken]}\n{render(broken[0])}"


@pytest.mark.parametrize("race", RACES)
def test_sometimes(race: str) -> None:
    """A rule that no run puts to the test is unproven."""
    if not reached:
        pytest.fail("play the runs above first: this looks at what they have reached")
    assert reached[race] > 0
