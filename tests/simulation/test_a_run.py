"""One run: it comes to rest with every promise kept, and its seed says all of it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from orderflow.simulation.choices import Choices
from orderflow.simulation.judging import breaches_of
from orderflow.simulation.plan import plan_of, quiet_plan
from orderflow.simulation.playing import Outcome, Player, Schedule, player
from orderflow.simulation.races import RACES
from orderflow.simulation.rendering import render
from orderflow.simulation.world import World

BUSY = 6
"""A seed in whose run something happens."""

PRINT_TRACE = f"""
from orderflow.simulation.playing import player
from orderflow.simulation.rendering import render
with player("memory") as one:
    print(render(one.seed({BUSY})))
"""


@pytest.fixture(scope="module")
def busy(in_memory: Player) -> Outcome:
    return in_memory.seed(BUSY)


def test_without_faults_one_order_goes_through_all_six_contexts(in_memory: Player) -> None:
    world = World(in_memory.store, quiet_plan(0), Choices(0, {}))
    trace = world.play().trace
    assert list(breaches_of(world)) == []
    took = {line.who.partition("-")[0] for line in trace if line.what.startswith("takes ") and "order-1" in line.what}
    assert took == {"order", "payment", "inventory", "fulfillment", "notification", "analytics"}
    assert in_memory.store.peek("order", "SELECT status FROM orders") == [("Completed",)]


def test_the_same_seed_gives_the_same_run(in_memory: Player, busy: Outcome) -> None:
    assert in_memory.seed(BUSY) == busy


def test_in_another_process_too_and_whatever_its_hashes() -> None:
    """Python's sets come in another order in each process."""
    traces = {
        subprocess.run(
            [sys.executable, "-c", PRINT_TRACE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1


def test_files_give_the_same_run_as_memory(busy: Outcome) -> None:
    with player("file") as one:
        assert one.seed(BUSY) == busy


def test_a_schedule_gives_the_same_run_as_its_seed(in_memory: Player, busy: Outcome, tmp_path: Path) -> None:
    file = tmp_path / "schedule.json"
    file.write_bytes(msgspec.json.encode(busy.schedule))
    again = in_memory.schedule(msgspec.json.decode(file.read_bytes(), type=Schedule))
    assert again.trace == busy.trace


def test_what_a_run_says_it_reached_is_among_the_races(busy: Outcome) -> None:
    assert busy.reached
    assert busy.reached <= set(RACES)


def test_a_run_reads_as_a_story(busy: Outcome) -> None:
    text = render(busy)
    assert text.startswith(f"seed {BUSY}: ")
    assert text.endswith("every promise is kept")
    for order in plan_of(BUSY).orders:
        assert f"accepts {order.name}" in text
