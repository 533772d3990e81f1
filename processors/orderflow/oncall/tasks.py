"""``orderflow tasks``: what calls and timers are open, and trying calls at once."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click
import msgspec

from orderflow.client.failures import Failure
from orderflow.oncall.choosing import Choice, acting, choosing, deployed, split
from orderflow.oncall.databases import database
from orderflow.oncall.rendering import counted, tasks_table
from orderflow.oncall.waiting import OpenTask, open_tasks
from orderflow.options import as_json
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import reading
from orderflow.runtime.interventions import retry as try_at_once
from orderflow.spec.deployment import Deployment

WELL = frozenset({"due-now", "due-already", "under-way", "to be due now"})
"""What becomes of tasks that somebody is, or will be, at work on."""

limit = click.option("--limit", type=click.IntRange(1, 30_000), default=1_000, show_default=True, help="At most.")
troubled = click.option("--troubled", is_flag=True, help="Only what is overdue, unclear, or has failed before.")


@click.group()
def tasks() -> None:
    """Look at open calls and timers; try calls at once."""


@tasks.command("list")
@choosing
@click.option("--kind", type=click.Choice(["call", "timer"]), help="Only these.")
@troubled
@limit
@deployed
@as_json
def list_(settled: Deployment, choice: Choice, kind: str | None, troubled: bool, limit: int, as_json: bool) -> None:
    """Show open tasks, the longest due of each context first."""
    found = _found(settled, choice, kind, troubled=troubled, limit=limit)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(tasks_table(found, datetime.now(UTC)) if found else "no such task is open")


@tasks.command()
@click.argument("names", metavar="[TASK]...", nargs=-1)
@choosing
@troubled
@limit
@acting
@deployed
@as_json
def retry(
    settled: Deployment,
    names: Sequence[str],
    behalf: Behalf,
    choice: Choice,
    troubled: bool,
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make tasks due now: those named, as `list` names them, or the calls that are chosen.

    A timer has to be named: it would fire before its time.
    """
    if bool(names) == (troubled or bool(choice.contexts) or not choice.is_empty):
        raise Failure("name tasks, as `orderflow tasks list` does, or choose calls, as in --troubled: one of the two")
    found = list(names) or [one.name for one in _found(settled, choice, "call", troubled=troubled, limit=limit)]
    outcomes = dict.fromkeys(found, "to be due now") if dry_run else _retried(settled, found, behalf)
    if as_json:
        click.echo(msgspec.json.encode([{"task": name, "outcome": outcome} for name, outcome in outcomes.items()]))
    else:
        for name, outcome in outcomes.items():
            click.echo(f"{name}  {outcome}")
        click.echo(counted(outcomes.values()) if outcomes else "no such task is open")
    sys.exit(0 if all(outcome in WELL for outcome in outcomes.values()) else 1)


def _found(settled: Deployment, choice: Choice, kind: str | None, *, troubled: bool, limit: int) -> list[OpenTask]:
    found = []
    for context in choice.named_contexts:
        with database(settled, context) as engine, reading(engine) as connection:
            now = datetime.now(UTC)
            found += open_tasks(connection, context, choice, now, kind=kind, troubled=troubled, limit=limit)
    return found


def _retried(settled: Deployment, names: Sequence[str], behalf: Behalf) -> Mapping[str, str]:
    by_context: dict[str, list[str]] = {}
    for name in names:
        context, task_id = split(name)
        by_context.setdefault(context, []).append(task_id)
    outcomes: dict[str, str] = {}
    for context, task_ids in by_context.items():
        with database(settled, context) as engine:
            for task_id in task_ids:
                with engine.begin() as connection:
                    outcomes[f"{context}/{task_id}"] = try_at_once(connection, task_id, behalf, datetime.now(UTC))
    return outcomes
