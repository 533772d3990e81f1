"""``orderflow load``: so many orders per second, each when it is due, and how long they took."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orderflow.client.failures import ClientError, Failure
from orderflow.client.orders import URL, URL_VARIABLE

if TYPE_CHECKING:
    from orderflow.client.figures import Report
    from orderflow.client.load_run import Load
    from orderflow.spec.deployment import Deployment

DATA_DIR = Path(".orderflow")
DEPLOYMENT_FILE = "run.json"
"""What `orderflow up` writes to its data directory."""


@click.command()
@click.option("--rate", type=click.FloatRange(min=0, min_open=True, max=10_000), required=True, help="Per second.")
@click.option("--orders", type=click.IntRange(min=1, max=10_000_000), required=True, help="How many.")
@click.option("--flow", help="The flow they take. Default: the system's.")
@click.option("--products", metavar="SKU,SKU,...", help="What is ordered, in turn. Default: the catalogue.")
@click.option("--timeout", type=click.FloatRange(min=0), default=120, show_default=True, help="Seconds after the last.")
@click.option("--url", envvar=URL_VARIABLE, show_envvar=True, help=f"The order API. Default: the system's, else {URL}.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Of the running system, whose broker tells when an order ends. Default: {DATA_DIR}, if there is a system.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def load(
    rate: float,
    orders: int,
    flow: str | None,
    products: str | None,
    timeout: float,
    url: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Place orders at a rate and report how long acceptance and completion took.

    Orders are sent on a schedule that waits for nobody, and their times count from when they were due. Fails if an
    order was not accepted, or has not ended within the timeout.
    """
    from orderflow.client.figures import shortfall  # noqa: PLC0415
    from orderflow.client.load_run import Load  # noqa: PLC0415

    deployment = _deployment(data_dir)
    address = url or (deployment.gateway if deployment else URL)
    if deployment is not None and not _is_same(address, deployment.gateway):
        deployment = None  # another system's orders do not end at this broker
    report, first_reason = _run(
        Load(
            url=address,
            rate=rate,
            orders=orders,
            flow=flow,
            products=[name.strip() for name in (products or "").split(",") if name.strip()],
            patience=timeout,
            deployment=deployment,
        )
    )
    click.echo(_json(report) if as_json else _text(report))
    if wrong := shortfall(report, first_reason, timeout):
        raise Failure(wrong)


def _deployment(data_dir: Path | None) -> "Deployment | None":
    from orderflow.spec.deployment import DEPLOYMENT_VARIABLE, read_deployment  # noqa: PLC0415
    from orderflow.spec.errors import SpecError  # noqa: PLC0415

    folder = data_dir or DATA_DIR
    file = folder / DEPLOYMENT_FILE
    if data_dir is not None and not file.exists():
        raise Failure(f"no system was started in {folder}: `orderflow up` keeps its {DEPLOYMENT_FILE} there")
    try:
        if file.exists():
            return read_deployment(file)
        return read_deployment() if os.environ.get(DEPLOYMENT_VARIABLE) else None
    except SpecError as error:
        raise Failure(str(error)) from None


def _is_same(one: str, other: str) -> bool:
    plain = [address.rstrip("/").replace("//localhost", "//127.0.0.1") for address in (one, other)]
    return plain[0] == plain[1]


def _run(load: "Load") -> "tuple[Report, str]":
    import uvloop  # noqa: PLC0415

    from orderflow.client.load_run import run_load  # noqa: PLC0415
    from orderflow.client.progress import progress  # noqa: PLC0415

    try:
        with progress(load.orders, sys.stderr) as show:
            return uvloop.run(run_load(load, show))
    except ClientError as error:
        raise Failure(str(error)) from None


def _json(report: "Report") -> bytes:
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(report)


def _text(report: "Report") -> str:
    from orderflow.client.rendering import report_text  # noqa: PLC0415

    return report_text(report)
