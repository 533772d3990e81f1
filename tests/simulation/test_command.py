"""``orderflow simulate``, as a person uses it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from orderflow.cli import main
from orderflow.saga.state import Progress
from orderflow.saga.table import Status


def test_a_seed_is_played_and_told() -> None:
    result = CliRunner().invoke(main, ["simulate", "--seed", "6"])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "every promise is kept"


def test_many_seeds_are_played_and_the_races_counted() -> None:
    result = CliRunner().invoke(main, ["simulate", "--runs", "3"])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "3 runs on memory: 0 have broken a promise"
    assert "idempotency key answered again" in result.output


def test_what_breaks_is_shortened_saved_and_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Steps that nobody has heard of are left alone.
    monkeypatch.setattr(Progress, "needs_undoing", property(lambda step: step.status is Status.DONE))
    monkeypatch.setattr("orderflow.simulation.shrinking.shrunk.__defaults__", (20,))
    saved = tmp_path / "broken.json"
    found = CliRunner().invoke(main, ["simulate", "--runs", "2", "--save", str(saved)])
    assert found.exit_code == 1
    assert "The shortest schedule found:" in found.output
    assert "cancelled-keeps-nothing" in found.output
    again = CliRunner().invoke(main, ["simulate", "--schedule", str(saved)])
    assert again.exit_code == 1
    assert "BROKEN  " in again.output


@pytest.mark.parametrize("words", [[], ["--seed", "1", "--runs", "2"]], ids=["nothing", "too much"])
def test_one_thing_is_asked_for(words: list[str]) -> None:
    result = CliRunner().invoke(main, ["simulate", *words])
    assert result.exit_code == 2
    assert "say one of --seed, --schedule and --runs" in result.output
