"""``orderflow dlq``: look at dead letters, have them replayed or discarded."""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from orderflow.client.failures import Failure
from orderflow.oncall.choosing import Choice, Command, acting, choosing, deployed, split, with_options
from orderflow.oncall.databases import database
from orderflow.oncall.letters import Ailment, Found, found, grouped, named, sheet
from orderflow.oncall.rendering import fates_table, groups_table, letter_sheet, letters_table
from orderflow.oncall.replaying import WELL, Fate, Wish, ask, follow, rehearse
from orderflow.options import as_json
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import reading
from orderflow.spec.deployment import Deployment

AT_MOST: Final = 10_000
"""Letters of one context that one command deals with: more are a flood, and the next command has the rest."""

_cause = click.option("--cause", help="Only those with this cause.")
_place = click.option("--place", help="Only those that failed at this place in the code: the PLACE that `list` shows.")
_NAMED_OR_CHOSEN: Final = (
    click.argument("names", metavar="[LETTER]...", nargs=-1),
    _cause,
    _place,
    click.option(
        "--wait",
        type=click.FloatRange(min=0),
        default=15,
        show_default=True,
        help="Seconds to wait for the outcome, from when the last one is due.",
    ),
)


def naming(command: Command) -> Command:
    """Give ``command`` letters that are named, or else chosen."""
    return with_options(command, _NAMED_OR_CHOSEN)


@click.group()
def dlq() -> None:
    """Look at dead letters, have them replayed or discarded."""


@dlq.command("list")
@choosing
@_cause
@_place
@click.option(
    "--status",
    type=click.Choice(["open", "superseded", "replayed", "discarded"]),
    default="open",
    show_default=True,
    help="Only those that stand so.",
)
@click.option("--each", is_flag=True, help="One line per letter, instead of one per cause and place in the code.")
@deployed
@as_json
def list_(
    settled: Deployment,
    choice: Choice,
    cause: str | None,
    place: str | None,
    status: str,
    each: bool,
    as_json: bool,
) -> None:
    """Show dead letters, by cause and place in the code."""
    letters = _found(settled, choice, Ailment(cause=cause, stack_hash=place, status=status))
    groups = grouped(letters, settled.resource.spec.dead_letters.quarantine_after)
    if as_json:
        click.echo(msgspec.json.encode(letters if each else groups))
    elif not letters:
        click.echo(f"no dead letter is {status}")
    else:
        click.echo(letters_table(letters) if each else groups_table(groups))


@dlq.command()
@click.argument("name", metavar="LETTER")
@deployed
@as_json
def show(settled: Deployment, name: str, as_json: bool) -> None:
    """Show all there is to say about LETTER, as in payment/12: its message, what waits behind it, what was done."""
    context, number = _number(name)
    with database(settled, context) as engine, reading(engine) as connection:
        shown = sheet(connection, context, number)
    if shown is None:
        raise Failure(f"there is no dead letter {name}")
    click.echo(msgspec.json.encode(shown) if as_json else letter_sheet(shown))


@dlq.command()
@naming
@choosing
@click.option("--rate", type=click.FloatRange(min=0.01), help="Letters per second at the most.")
@click.option("--force", is_flag=True, help="Also out of quarantine; the letters have to be named.")
@acting
@deployed
@as_json
def replay(settled: Deployment, behalf: Behalf, rate: float | None, force: bool, **rest: Any) -> None:
    """Have dead letters decided anew, those named or those chosen. What waits behind them follows."""
    if force and not rest["names"]:
        raise Failure("--force is for letters that are named")
    quarantine_after = settled.resource.spec.dead_letters.quarantine_after
    wish = Wish(action="replay", behalf=behalf, quarantine_after=quarantine_after, rate=rate, forced=force)
    _see_to(settled, wish, **rest)


@dlq.command()
@naming
@choosing
@acting
@deployed
@as_json
def discard(settled: Deployment, behalf: Behalf, **rest: Any) -> None:
    """Give dead letters up for good, those named or those chosen. What waits behind them follows."""
    quarantine_after = settled.resource.spec.dead_letters.quarantine_after
    _see_to(settled, Wish(action="discard", behalf=behalf, quarantine_after=quarantine_after), **rest)


def _see_to(
    settled: Deployment,
    wish: Wish,
    *,
    names: Sequence[str],
    choice: Choice,
    cause: str | None,
    place: str | None,
    wait: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask for what is wanted, wait, tell what came of it, and end with status 1 unless it is what was wanted."""
    ailment = Ailment(cause=cause, stack_hash=place)
    is_chosen = bool(choice.contexts) or not (choice.is_empty and ailment.is_empty)
    if bool(names) == is_chosen:
        raise Failure("name letters, as in payment/12, or choose them, as in --cause decide-failed: one of the two")
    chosen = _named(settled, names) if names else _by_context(_found(settled, choice, ailment))
    fates = _rehearsed(wish, chosen) if dry_run else _asked(settled, wish, chosen, wait)
    if as_json:
        click.echo(msgspec.json.encode([{"letter": fate.letter.name, "outcome": fate.outcome} for fate in fates]))
    else:
        click.echo(fates_table(fates) if fates else "no dead letter is open")
    sys.exit(0 if all(fate.outcome in WELL for fate in fates) else 1)


def _rehearsed(wish: Wish, chosen: Mapping[str, Sequence[Found]]) -> list[Fate]:
    return [fate for letters in chosen.values() for fate in rehearse(wish, letters)]


def _asked(settled: Deployment, wish: Wish, chosen: Mapping[str, Sequence[Found]], wait: float) -> list[Fate]:
    start, number = datetime.now(UTC), 0
    asked: dict[str, list[Fate]] = {}
    for context, letters in chosen.items():
        with database(settled, context) as engine:
            asked[context] = ask(engine, wish, letters, start, number)
        number += len(letters)
    until = time.monotonic() + wait + (number / wish.rate if wish.rate else 0)
    for context, fates in asked.items():
        with database(settled, context) as engine:
            asked[context] = follow(engine, context, fates, until)
    return [fate for fates in asked.values() for fate in fates]


def _found(settled: Deployment, choice: Choice, ailment: Ailment) -> list[Found]:
    letters = []
    for context in choice.named_contexts:
        with database(settled, context) as engine, reading(engine) as connection:
            letters += found(connection, context, choice, ailment, AT_MOST)
    return letters


def _by_context(letters: Sequence[Found]) -> dict[str, list[Found]]:
    chosen: dict[str, list[Found]] = {}
    for letter in letters:
        chosen.setdefault(letter.context, []).append(letter)
    return chosen


def _named(settled: Deployment, names: Sequence[str]) -> dict[str, list[Found]]:
    numbers: dict[str, set[int]] = {}
    for context, number in map(_number, names):
        numbers.setdefault(context, set()).add(number)
    chosen = {}
    for context, wanted in numbers.items():
        with database(settled, context) as engine, reading(engine) as connection:
            chosen[context] = named(connection, context, sorted(wanted))
        if missing := wanted - {letter.id for letter in chosen[context]}:
            raise Failure(f"there is no dead letter {context}/{min(missing)}")
    return chosen


def _number(name: str) -> tuple[str, int]:
    context, number = split(name)
    if not number.isdecimal():
        raise Failure(f"expected CONTEXT/NUMBER, as in payment/12, got {name}")
    return context, int(number)
