"""What every measurement needs: a system that is up, a load, what is known of the machine, and a place for the record.

Everything runs on two cores: a measurement, its load generator, the broker and every process of the system. Affinity is
inherited, so pinning the measuring process first pins them all.
"""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from orderflow.client.figures import Report
from orderflow.spec.reading import read_resource

HERE = Path(__file__).parent
MEASURED = HERE / "measured.yaml"
ORDERFLOW = Path(sys.executable).with_name("orderflow")
CORES = 2
FLOW = "payment-first"


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


def pin() -> None:
    """Pin this process, and so all that it starts, to two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def now() -> datetime:
    """The time of a record: UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


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


def loaded(data_dir: Path, orders: int, rate: int) -> Report:
    """Place so many orders, ``rate`` of them per second, and return what was seen of them."""
    arguments = ["--rate", str(rate), "--orders", str(orders), "--flow", FLOW, "--data-dir", str(data_dir), "--json"]
    done = subprocess.run([str(ORDERFLOW), "load", *arguments], stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise SystemExit("the load has failed, see above")
    return msgspec.json.decode(done.stdout, type=Report)


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


def keep(name: str, record: msgspec.Struct, recorded_at: datetime) -> Path:
    """Write a record to a file of its own in ``results/``, and return the file."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    file = results / f"{name}{recorded_at:%Y-%m-%dT%H-%M-%SZ}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return file


def show(marker: str, text: str) -> None:
    """Put ``text`` into the README between the marks, in place of what the last measurement said."""
    readme = HERE / "README.md"
    before, opening, rest = readme.read_text().partition(f"<!-- {marker} -->\n")
    after = rest.partition(f"<!-- /{marker} -->")[2]
    readme.write_text(f"{before}{opening}\n{text}\n\n<!-- /{marker} -->{after}")


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
