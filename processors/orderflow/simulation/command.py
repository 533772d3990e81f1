"""``orderflow simulate``: one run with its trace, or many with what came of them."""

import sys
from collections import Counter
from pathlib import Path
from typing import cast

import click
import msgspec

from orderflow.simulation.judging import summary
from orderflow.simulation.playing import Outcome, Schedule, play, player
from orderflow.simulation.races import RACES
from orderflow.simulation.rendering import render
from orderflow.simulation.shrinking import shrunk
from orderflow.simulation.store import Kind


@click.command()
@click.option("--seed", type=int, help="Play this seed and print its trace.")
@click.option("--schedule", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Play a saved schedule.")
@click.option("--runs", type=click.IntRange(min=1), help="Play so many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="With --runs: the first seed.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="With --runs: processes.")
@click.option("--store", type=click.Choice(["memory", "file"]), default="memory", show_default=True)
@click.option("--shrink/--no-shrink", default=True, show_default=True, help="Shorten a schedule that breaks something.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the schedule that broke there.")
def simulate(
    seed: int | None,
    schedule: Path | None,
    runs: int | None,
    first: int,
    jobs: int,
    store: str,
    *,
    shrink: bool,
    save: Path | None,
) -> None:
    """Play the whole system in virtual time, among faults; exit status 1 if a promise was broken.

    A seed says all that happens. Of many runs the first that breaks something is shortened and shown.
    """
    if sum(each is not None for each in (seed, schedule, runs)) != 1:
        raise click.UsageError("say one of --seed, --schedule and --runs")
    kind = cast("Kind", store)
    outcome = _one(seed, schedule, kind) if runs is None else _many(range(first, first + runs), kind, jobs)
    if outcome is not None and not outcome.ok:
        _tell(outcome, kind, save, shrink=shrink and schedule is None)
        sys.exit(1)


def _one(seed: int | None, schedule: Path | None, kind: Kind) -> Outcome:
    with player(kind) as one:
        if schedule is not None:
            outcome = one.schedule(msgspec.json.decode(schedule.read_bytes(), type=Schedule))
        else:
            assert seed is not None
            outcome = one.seed(seed)
    click.echo(render(outcome))
    return outcome


def _many(seeds: range, kind: Kind, jobs: int) -> Outcome | None:
    """Play ``seeds``, say what came of them, and return the first that broke something."""
    reached: Counter[str] = Counter()
    broken: list[Outcome] = []
    for outcome in play(seeds, kind, jobs):
        reached.update(outcome.reached)
        if not outcome.ok:
            broken.append(outcome)
            click.echo(f"seed {outcome.seed}: {summary(outcome.breaches)}")
    for race in RACES:
        click.echo(f"{reached[race]:6d}  {race}")
    click.echo(f"{len(seeds)} runs on {kind}: {len(broken)} have broken a promise")
    return broken[0] if broken else None


def _tell(outcome: Outcome, kind: Kind, save: Path | None, *, shrink: bool) -> None:
    """Shorten and show what broke, and say how to play it again."""
    if shrink:
        with player(kind) as one:
            outcome = shrunk(one, outcome)
        click.echo(f"\nThe shortest schedule found:\n\n{render(outcome)}")
    click.echo(f"\nagain: orderflow simulate --seed {outcome.seed} --store {kind}")
    if save is not None:
        save.write_bytes(msgspec.json.format(msgspec.json.encode(outcome.schedule)))
        click.echo(f"shortened: orderflow simulate --schedule {save} --store {kind}")
