"""The ``orderflow`` command.

Each command imports what it needs when it runs: ``orderflow status`` has no business loading a stream processor.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from orderflow.options import as_json, data_dir, deployment, deployment_of, one_sentence


class LazyGroup(click.Group):
    """A group of which some commands are loaded when they are used."""

    lazy: Final[Mapping[str, str]] = {
        "orders": "orderflow.client.orders",
        "load": "orderflow.client.load",
        "dlq": "orderflow.oncall.dlq",
        "outbox": "orderflow.oncall.outbox",
        "tasks": "orderflow.oncall.tasks",
        "rollout": "orderflow.rollouts.command",
        "shadow": "orderflow.shadowing.command",
        "simulate": "orderflow.simulation.command",
    }
    """By name, the module that has the command under that name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands' names."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loading it if need be."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(self.lazy[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orderflow")
def main() -> None:
    """Order-to-delivery sagas as stream processors over Kafka."""


MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"))
CONTEXT = click.Choice(["order", "payment", "inventory", "fulfillment", "notification", "analytics"])


@main.command()
@click.argument("context", type=CONTEXT)
@deployment
@click.option("--instance", help="This worker's name among its context's; default: CONTEXT-0.")
def run(context: str, deployment: Path | None, instance: str | None) -> None:
    """Run one worker of CONTEXT in the foreground."""
    from orderflow.assembly import worker_settings  # noqa: PLC0415
    from orderflow.runtime.admission import OUT_OF_THE_GROUP  # noqa: PLC0415
    from orderflow.runtime.telemetry import configure_logging  # noqa: PLC0415
    from orderflow.runtime.worker import run_worker  # noqa: PLC0415

    settled = deployment_of(deployment)
    configure_logging(context, settled.resource.spec.logging.level)
    with one_sentence():
        settings = worker_settings(settled, context, instance or f"{context}-0")
    status = run_worker(settings)
    if status == OUT_OF_THE_GROUP:
        # The same process, so that nobody counts a restart; a new program, so that nothing of the old group is left.
        os.execv(sys.executable, [sys.executable, "-m", "orderflow.cli", *sys.argv[1:]])  # noqa: S606
    sys.exit(status)


@main.command()
@click.argument("context", type=CONTEXT, default="order")
@deployment
@click.option("--instance", help="This process's name; default: CONTEXT-api.")
def api(context: str, deployment: Path | None, instance: str | None) -> None:
    """Serve the read API of CONTEXT; for the order context, the order API."""
    from orderflow.runtime.telemetry import configure_logging  # noqa: PLC0415

    settled = deployment_of(deployment)
    name = instance or f"{context}-api"
    configure_logging(name, settled.resource.spec.logging.level)
    if context == "order":
        from orderflow.assembly import flow_book  # noqa: PLC0415
        from orderflow.gateway.serve import serve_order_api  # noqa: PLC0415

        serve_order_api(settled, flow_book(settled.resource), name)
    else:
        from orderflow.gateway.serve import serve_read_api  # noqa: PLC0415

        serve_read_api(settled, context, name)


@main.command()
@click.option(
    "-f",
    "--file",
    "manifest",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("manifests/quickstart.yaml"),
    show_default=True,
    help="The OrderFlow resource.",
)
@data_dir
@click.option("--detach", is_flag=True, help="Return when everything is ready, and leave it running.")
def up(manifest: Path, data_dir: Path, detach: bool) -> None:
    """Bring a whole system up on this machine: broker, databases, all processes. Ctrl-C stops it."""
    from orderflow.local.up import up as bring_up  # noqa: PLC0415

    with one_sentence():
        bring_up(manifest, data_dir, detach=detach)


@main.command()
@data_dir
@as_json
def status(data_dir: Path, as_json: bool) -> None:
    """Show every process of the system; exit status 1 unless all are ready."""
    from orderflow.local.up import status as status_of  # noqa: PLC0415

    with one_sentence():
        found = status_of(data_dir)
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(found))
    else:
        from rich.console import Console  # noqa: PLC0415

        from orderflow.local.board import board  # noqa: PLC0415

        Console().print(board(found, ()))
    sys.exit(0 if found.ready else 1)


@main.command()
@data_dir
def down(data_dir: Path) -> None:
    """Stop the system in the data directory and wait for its end."""
    from orderflow.local.up import down as bring_down  # noqa: PLC0415

    with one_sentence():
        stopped = bring_down(data_dir)
    click.echo("stopped" if stopped else "nothing was running")


@main.command()
@deployment
@click.option("--context", type=CONTEXT, help="This context's database alone.")
@click.option("--allow", multiple=True, metavar="REVISION", help="Allow these revisions to write, and no others.")
def migrate(deployment: Path | None, context: str | None, allow: tuple[str, ...]) -> None:
    """Bring every context's database up to date and allow this revision to write."""
    from orderflow.assembly import prepare_databases  # noqa: PLC0415
    from orderflow.spec.resource import CONTEXTS  # noqa: PLC0415

    for name in prepare_databases(deployment_of(deployment), (context,) if context else CONTEXTS, allow):
        click.echo(f"{name}: ready")


@main.command()
@deployment
@data_dir
@click.option("--online", is_flag=True, help="The system is running: leave alone what is younger than the grace.")
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds; with --online.  [default: 60]")
@as_json
def verify(deployment: Path | None, data_dir: Path, online: bool, grace: float | None, as_json: bool) -> None:
    """Check every promise over the databases and the providers' records; exit status 1 if one is broken."""
    import msgspec  # noqa: PLC0415

    from orderflow.verification import render  # noqa: PLC0415
    from orderflow.verification.deployed import verify_deployment  # noqa: PLC0415

    report = verify_deployment(deployment_of(deployment, data_dir), online=online, grace=grace)
    click.echo(msgspec.json.encode(report) if as_json else render(report))
    sys.exit(0 if report.ok else 1)


@main.command()
@click.option("--context", type=CONTEXT, required=True, help="Whose topics are read again.")
@click.option("--topic", help="This one alone, named without the prefix.")
@click.option(
    "--from", "since", type=MOMENT, metavar="TIME", help="Messages from then on (UTC).  [default: the oldest]"
)
@click.option(
    "--to", "until", type=MOMENT, metavar="TIME", help="Messages until then (UTC).  [default: as far as the ledger]"
)
@click.option("--apply", "applies", is_flag=True, help="Decide messages that the inbox does not know.")
@click.option(
    "--rate", type=click.IntRange(1, 100_000), default=500, show_default=True, help="Messages per second and worker."
)
@click.option(
    "--patience", type=click.FloatRange(min=0), default=60, show_default=True, help="Seconds without any progress."
)
@deployment
@data_dir
@as_json
def replay(
    context: str,
    topic: str | None,
    since: datetime | None,
    until: datetime | None,
    applies: bool,
    rate: int,
    patience: float,
    deployment: Path | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Read a context's topics again and hold every message against what was recorded; exit status 1 if they differ.

    The context's own workers do it, beside their work and at a bounded rate. Messages below the ledger that the inbox
    does not know are reported; with --apply they are decided, by the owner of their partition.
    """
    import msgspec  # noqa: PLC0415

    from orderflow.replaying.outcome import render  # noqa: PLC0415
    from orderflow.replaying.progress import progress  # noqa: PLC0415
    from orderflow.replaying.requesting import Wanted, replayed  # noqa: PLC0415

    wanted = Wanted(context=context, topic=topic, since=_utc(since), until=_utc(until), applies=applies, rate=rate)
    with one_sentence():
        outcome = replayed(deployment_of(deployment, data_dir), wanted, patience=patience, tell=progress)
    click.echo(msgspec.json.encode(outcome) if as_json else render(outcome))
    sys.exit(0 if outcome.ok else 1)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None else None


@main.command()
@click.option("--write", type=click.Path(path_type=Path, file_okay=False), help="Write schemas and document there.")
def contracts(write: Path | None) -> None:
    """Print the AsyncAPI document of all messages."""
    import msgspec  # noqa: PLC0415

    from orderflow.contracts.asyncapi import document  # noqa: PLC0415

    if write is not None:
        from orderflow.contracts.publishing import write_contracts  # noqa: PLC0415

        write_contracts(write)
        return
    click.echo(msgspec.json.format(msgspec.json.encode(document())).decode())


if __name__ == "__main__":
    main()
