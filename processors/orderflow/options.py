"""What every command is told that works on a deployment: where it is, and how to print."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orderflow.client.failures import Failure

if TYPE_CHECKING:
    from orderflow.spec.deployment import Deployment

DATA_DIR = Path(".orderflow")

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_DIR,
    show_default=True,
    help="Where the system keeps its databases, logs and broker.",
)
deployment = click.option(
    "--deployment", type=click.Path(path_type=Path, dir_okay=False), help="The deployment file that `up` has written."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what is known to go wrong into one sentence and exit status 1."""
    from orderflow.local.errors import LocalError  # noqa: PLC0415

    try:
        yield
    except (LocalError, ValueError) as error:  # SpecError, and what the environment says wrongly, are ValueErrors
        raise Failure(str(error)) from None


def deployment_of(path: Path | None, folder: Path = DATA_DIR) -> "Deployment":
    """Return the deployment that ``path`` or the environment names, or else the one that `up` has left in ``folder``.

    Raises:
        Failure: there is none, or it cannot be read.
    """
    from orderflow.spec.deployment import DEPLOYMENT_VARIABLE, read_deployment  # noqa: PLC0415

    default = folder / "run.json"
    if path is None and not os.environ.get(DEPLOYMENT_VARIABLE) and default.exists():
        path = default
    with one_sentence():
        return read_deployment(path)
