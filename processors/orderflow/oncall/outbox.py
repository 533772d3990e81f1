"""``orderflow outbox``: what waits to be published, and publishing once more what was."""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click
import msgspec
from sqlalchemy import Engine

from orderflow.client.failures import Failure
from orderflow.oncall.choosing import Choice, acting, choosing, deployed
from orderflow.oncall.databases import database
from orderflow.oncall.rendering import rows_table
from orderflow.oncall.waiting import Row, outbox_rows, still_waiting
from orderflow.options import as_json
from orderflow.runtime.acts import Behalf
from orderflow.runtime.database import reading
from orderflow.runtime.interventions import republish as publish_once_more
from orderflow.spec.deployment import Deployment

AT_ONCE: Final = 500
"""Rows in one transaction: its writers' and readers' locks wait for milliseconds."""
LOOK_EVERY: Final = 0.5
"""Seconds between looks at whether they are published; the relay looks for them every five."""

limit = click.option("--limit", type=click.IntRange(1, 30_000), default=1_000, show_default=True, help="At most.")


@click.group()
def outbox() -> None:
    """Look at messages that wait to be published; publish once more what was."""


@outbox.command("list")
@choosing
@limit
@deployed
@as_json
def list_(settled: Deployment, choice: Choice, limit: int, as_json: bool) -> None:
    """Show the messages that wait to be published, the oldest of each context first."""
    found: list[Row] = []
    for context in choice.named_contexts:
        with database(settled, context) as engine, reading(engine) as connection:
            rows = outbox_rows(connection, context, choice, published=False, event_ids=(), limit=limit)
        found += [row for _, row in rows]
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(rows_table(found, datetime.now(UTC)) if found else "nothing waits to be published")


@outbox.command()
@choosing
@click.option("--event-id", "event_ids", multiple=True, help="Only this message; may be repeated.")
@limit
@acting
@click.option(
    "--wait", type=click.FloatRange(min=0), default=15, show_default=True, help="Seconds to wait until it is done."
)
@deployed
@as_json
def republish(
    settled: Deployment,
    behalf: Behalf,
    choice: Choice,
    event_ids: Sequence[str],
    limit: int,
    dry_run: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Publish messages once more that were published. Whoever has processed one knows it, and drops the copy."""
    if choice.is_empty and not event_ids:
        raise Failure("choose what to publish once more: --event-id, --key, --type, --since or --until")
    found: list[Row] = []
    asked: dict[str, list[int]] = {}
    for context in choice.named_contexts:
        with database(settled, context) as engine:
            with reading(engine) as connection:
                rows = outbox_rows(connection, context, choice, published=True, event_ids=event_ids, limit=limit)
            if rows and not dry_run:
                asked[context] = [number for number, _ in rows]
                _publish(engine, asked[context], behalf)
        found += [row for _, row in rows]
    left = _left(settled, asked, time.monotonic() + wait)
    if as_json:
        click.echo(msgspec.json.encode({"messages": found, "waiting": left}))
    else:
        click.echo(rows_table(found, datetime.now(UTC)) if found else "nothing of that kind was published")
        done = f"{len(found)} to be published once more" if dry_run else f"{len(found) - left} published once more"
        click.echo(f"{done}, {left} not done yet" if left else done)
    sys.exit(1 if left or not found else 0)


def _publish(engine: Engine, numbers: Sequence[int], behalf: Behalf) -> None:
    for start in range(0, len(numbers), AT_ONCE):
        with engine.begin() as connection:
            publish_once_more(connection, numbers[start : start + AT_ONCE], behalf, datetime.now(UTC))


def _left(settled: Deployment, asked: Mapping[str, Sequence[int]], until: float) -> int:
    """Wait until all rows are published, or it is ``until``; return how many are not."""
    left = 0
    for context, numbers in asked.items():
        with database(settled, context) as engine:
            while waiting := _still_waiting(engine, numbers):
                if time.monotonic() >= until:
                    break
                time.sleep(LOOK_EVERY)
        left += waiting
    return left


def _still_waiting(engine: Engine, numbers: Sequence[int]) -> int:
    with reading(engine) as connection:
        return still_waiting(connection, numbers)
