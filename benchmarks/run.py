"""Measures the system and records what came out, in ``results/`` and in the table of ``README.md``.

Everything runs on two cores: this program and the load generator, the broker, every process of the system. Affinity is
inherited, so pinning this process first pins them all. The exit status is 1 if a figure misses what is asked of it.
"""

import asyncio
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import msgspec

from orderflow.client.api import NewOrder, OrderApi
from orderflow.client.failures import ClientError
from orderflow.client.figures import Report
from orderflow.contracts.items import RequestedItem
from orderflow.spec.deployment import read_deployment
from orderflow.spec.reading import read_resource

HERE = Path(__file__).parent
MEASURED = HERE / "measured.yaml"
QUICKSTART = HERE.parent / "manifests" / "quickstart.yaml"
ORDERFLOW = Path(sys.executable).with_name("orderflow")

CORES = 2
RATE = 100
FLOW = "payment-first"
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


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured. ``busy`` is how many processes wanted a core just before."""

    cpu: str
    cores: int
    kernel: str
    python: str
    busy: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. ``durability`` is that of the databases."""

    file: str
    sha256: str
    database: str
    durability: str


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
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    machine = machine_now()
    with tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder:
        load = measure_load(Path(folder))
        starts = tuple(measure_start(Path(folder) / f"start-{number}") for number in range(STARTS))
    record = Record(
        recorded_at=datetime.now(UTC).replace(microsecond=0),
        commit=commit(),
        machine=machine,
        figures=figures(load, starts),
        load_manifest=manifest(MEASURED),
        load=load,
        start_manifest=manifest(QUICKSTART),
        starts=starts,
    )
    keep(record)
    print(table(record))
    return 0 if is_met(record) else 1


def measure_load(folder: Path) -> Report:
    """Measure a minute of orders on a system that is warm."""
    with running(MEASURED, folder / "load") as data_dir:
        say(f"warming up: {WARM_UP} orders")
        loaded(data_dir, WARM_UP)
        say(f"measuring: {ORDERS} orders, {RATE} per second, {FLOW}")
        return loaded(data_dir, ORDERS)


def loaded(data_dir: Path, orders: int) -> Report:
    arguments = ["--rate", str(RATE), "--orders", str(orders), "--flow", FLOW, "--data-dir", str(data_dir), "--json"]
    done = subprocess.run([str(ORDERFLOW), "load", *arguments], stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise SystemExit("the load has failed, see above")
    return msgspec.json.decode(done.stdout, type=Report)


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


@contextmanager
def running(manifest: Path, data_dir: Path) -> Iterator[Path]:
    """Give the data directory of a system that is up, and take the system down afterwards."""
    try:
        up = [str(ORDERFLOW), "up", "--detach", "-f", str(manifest), "--data-dir", str(data_dir)]
        if subprocess.run(up, stdout=sys.stderr, check=False).returncode:
            raise SystemExit("the system did not come up, see above")
        yield data_dir
    finally:
        subprocess.run([str(ORDERFLOW), "down", "--data-dir", str(data_dir)], stdout=sys.stderr, check=False)


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


def machine_now() -> Machine:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return Machine(
        cpu=models[0] if models else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        busy=round(os.getloadavg()[0], 2),
    )


def manifest(path: Path) -> Manifest:
    spec = read_resource(path).spec.database
    return Manifest(
        file=str(path.relative_to(HERE.parent)),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        database=spec.url.partition(":")[0] if spec.url else "sqlite",
        durability=spec.durability,
    )


def commit() -> str:
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def keep(record: Record) -> None:
    """Write the record to a file of its own, and to the README in place of the one before."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    name = record.recorded_at.strftime("%Y-%m-%dT%H-%M-%SZ.json")
    (results / name).write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    readme = HERE / "README.md"
    before, opening, rest = readme.read_text().partition("<!-- measured -->\n")
    after = rest.partition("<!-- /measured -->")[2]
    shown = f"{table(record)}\n\n{circumstances(record, name)}"
    readme.write_text(f"{before}{opening}\n{shown}\n\n<!-- /measured -->{after}")


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


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
