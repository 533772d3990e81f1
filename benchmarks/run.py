"""Measures the system and records what came out, in ``results/`` and in the table of ``README.md``.

The exit status is 1 if a figure misses what is asked of it.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import msgspec
from measuring import (
    FLOW,
    HERE,
    MEASURED,
    Machine,
    Manifest,
    commit,
    keep,
    loaded,
    machine_now,
    manifest,
    now,
    pin,
    running,
    say,
    show,
)

from orderflow.client.api import NewOrder, OrderApi
from orderflow.client.failures import ClientError
from orderflow.client.figures import Report
from orderflow.contracts.items import RequestedItem
from orderflow.spec.deployment import read_deployment

QUICKSTART = HERE.parent / "manifests" / "quickstart.yaml"

RATE = 100
WARM_UP = 1500
"""Orders before any that count: the broker's just-in-time compiler has come to rest after about a thousand."""
ORDERS = 6000
"""A minute's worth: the slowest 5 % are 300 orders."""
STARTS = 3
PATIENCE = 60.0


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, and what it may be at most."""

    what: str
    value: float
    at_most: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.at_most


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from ``orderflow up --detach`` to its return, and to the first completed order."""

    ready: float
    completed: float


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one run of all measurements."""

    recorded_at: datetime
    commit: str
    machine: Machine
    figures: tuple[Figure, ...]
    load_manifest: Manifest
    load: Report
    start_manifest: Manifest
    starts: tuple[Start, ...]


def main() -> int:
    pin()
    machine = machine_now()
    with tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder:
        load = measure_load(Path(folder))
        starts = tuple(measure_start(Path(folder) / f"start-{number}") for number in range(STARTS))
    record = Record(
        recorded_at=now(),
        commit=commit(),
        machine=machine,
        figures=figures(load, starts),
        load_manifest=manifest(MEASURED),
        load=load,
        start_manifest=manifest(QUICKSTART),
        starts=starts,
    )
    name = keep("", record, record.recorded_at).name
    show("measured", f"{table(record)}\n\n{circumstances(record, name)}")
    print(table(record))
    return 0 if is_met(record) else 1


def measure_load(folder: Path) -> Report:
    """Measure a minute of orders on a system that is warm."""
    with running(MEASURED, folder / "load") as data_dir:
        say(f"warming up: {WARM_UP} orders")
        loaded(data_dir, WARM_UP, RATE)
        say(f"measuring: {ORDERS} orders, {RATE} per second, {FLOW}")
        return loaded(data_dir, ORDERS, RATE)


def measure_start(data_dir: Path) -> Start:
    """Measure a start in a new folder; whatever a start has to download or compile is there from earlier ones."""
    say("measuring: from `orderflow up` to the first completed order")
    began = time.perf_counter()
    with running(QUICKSTART, data_dir):
        ready = time.perf_counter()
        asyncio.run(first_completed(read_deployment(data_dir / "run.json").gateway))
        completed = time.perf_counter()
    return Start(ready=round(ready - began, 3), completed=round(completed - began, 3))


async def first_completed(url: str) -> None:
    """Place an order under the default flow, and wait for its end."""
    order = NewOrder(customer_id="first", items=(RequestedItem(product_id="sku-1", quantity=1),))
    key, deadline = str(uuid4()), time.perf_counter() + PATIENCE
    async with OrderApi(url) as api:
        placed = None
        while time.perf_counter() < deadline:
            try:
                placed = placed or (await api.create(order, key)).value
                # The list is not cached: it shows an order as it is.
                newest = (await api.orders({"limit": "1"})).value.orders[0]
            except ClientError as error:
                say(f"not yet: {error}")
            else:
                if newest.status in {"Completed", "Cancelled"}:
                    break
            await asyncio.sleep(0.05)
        else:
            raise SystemExit(f"the first order was not completed within {PATIENCE:g} s")
    if newest.status != "Completed":
        raise SystemExit(f"the first order has ended as {newest.status}: {newest.cancellation_reason}")


def figures(load: Report, starts: Sequence[Start]) -> tuple[Figure, ...]:
    missing = float("inf")
    accept = load.accept_ms.p95 if load.accept_ms else missing
    complete = load.complete_ms.p95 if load.complete_ms else missing
    start = median(start.completed for start in starts)
    at_rate = f"p95 at {RATE} orders/s, open loop"
    return (
        Figure(what=f"acceptance {at_rate}", value=accept, at_most=30, unit="ms"),
        Figure(what=f"completion {at_rate}, `{FLOW}`", value=complete, at_most=150, unit="ms"),
        Figure(
            what=f"`orderflow up`, warm, to the first completed order (median of {len(starts)})",
            value=start,
            at_most=15,
            unit="s",
        ),
    )


def is_met(record: Record) -> bool:
    """Whether every figure is, and every order was accepted, completed, and sent at the rate."""
    load = record.load
    at_rate = load.rate_achieved >= 0.99 * load.rate_asked
    return all(figure.is_met for figure in record.figures) and at_rate and load.outcomes == {"Completed": load.orders}


def table(record: Record) -> str:
    rows = [
        f"| {figure.what} | {figure.value:.1f} {figure.unit} | {figure.at_most:g} {figure.unit} "
        f"| {'yes' if figure.is_met else '**no**'} |"
        for figure in record.figures
    ]
    return "\n".join(["| what | measured | at most | met |", "|---|---|---|---|", *rows])


def circumstances(record: Record, name: str) -> str:
    machine, load = record.machine, record.load
    outcomes = ", ".join(f"{count} {status}" for status, count in load.outcomes.items()) or "none"
    manifests = (record.load_manifest, record.start_manifest)
    return f"""\
- Recorded {record.recorded_at:%Y-%m-%d} in [results/{name}](results/{name}), at commit {record.commit}.
- {machine.cores} cores of {machine.cpu}, Linux {machine.kernel}, Python {machine.python}; just before,
  {machine.busy:g} processes wanted a core.
- {load.orders} orders at {load.rate_achieved:.1f}/s achieved of {load.rate_asked:g}/s asked; outcomes: {outcomes}.
- Databases: {record.load_manifest.database}, durability {record.load_manifest.durability}.
{chr(10).join(f"- `{manifest.file}`: SHA-256 `{manifest.sha256}`." for manifest in manifests)}"""


if __name__ == "__main__":
    sys.exit(main())
