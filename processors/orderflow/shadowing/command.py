"""``orderflow shadow``: whether this code decides what was decided."""

import sys
from pathlib import Path

import click
import msgspec

from orderflow.options import as_json, data_dir, deployment, deployment_of
from orderflow.spec.resource import CONTEXTS


@click.command()
@click.argument("context", type=click.Choice(CONTEXTS))
@click.option("--sample", type=click.IntRange(min=0), default=1000, show_default=True, help="Decisions, the newest.")
@click.option("--meant", multiple=True, metavar="TYPE[=PART,..]", help="Decisions on TYPE may differ, in these parts.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result there as JSON; the exit status then only says whether there is one.",
)
@deployment
@data_dir
@as_json
def shadow(
    context: str,
    sample: int,
    meant: tuple[str, ...],
    report: Path | None,
    deployment: Path | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Decide CONTEXT's recorded decisions again, with this code; exit status 1 if any comes out otherwise.

    Reads the context's database and writes nothing.
    """
    from orderflow.assembly import context_of  # noqa: PLC0415
    from orderflow.runtime.database import open_database, reading  # noqa: PLC0415
    from orderflow.shadowing.deciding import meant_of, shadowed  # noqa: PLC0415

    settled = deployment_of(deployment, data_dir)
    engine = open_database(settled.database_url(context))
    try:
        with reading(engine) as connection:
            known = context_of(context, settled.resource)
            found = shadowed(connection, known, sample=sample, meant=meant_of(meant))
    finally:
        engine.dispose()
    encoded = msgspec.json.encode(found)
    if report is not None:
        report.write_bytes(encoded)
        return
    verdict = found.fault or f"{found.compared} decisions of {context} come out as recorded"
    click.echo(encoded if as_json else verdict)
    sys.exit(1 if found.fault else 0)
