"""Measures how the system's cost and memory grow with the orders that it has stored: ``growing.py [ORDERS] [RATE]``.

Orders are placed in ten stages, at one rate. After each stage stand the memory of every process and the CPU time that
an order of this stage took, over all processes. The exit status is 1 if a processor has grown past its bound.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from measuring import (
    MEASURED,
    ORDERFLOW,
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

STAGES = 10
DEFAULTS = (50_000, 80)
"""Orders in all, and per second."""
WARM_UP = 1500
TICKS = os.sysconf("SC_CLK_TCK")
PROCESSOR_MB = 150
"""What one processor may take."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: how many orders were stored at its end, and what was seen.

    Attributes:
        megabytes: resident memory of each process at the end.
        cpu_ms: CPU time per order of each process in this stage, in milliseconds.
        completed: how many of the stage's orders.
        completed_per_second: the same, per second.
    """

    stored: int
    megabytes: dict[str, float]
    cpu_ms: dict[str, float]
    completed: int
    completed_per_second: float

    @property
    def processors(self) -> float:
        """Megabytes of the largest processor."""
        return max(value for name, value in self.megabytes.items() if name.endswith("-0"))


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one run."""

    recorded_at: datetime
    commit: str
    machine: Machine
    manifest: Manifest
    rate: int
    stages: tuple[Stage, ...]


def main(arguments: Sequence[str]) -> int:
    given = [int(argument) for argument in arguments]
    orders, rate = (*given, *DEFAULTS[len(given) :])
    pin()
    machine = machine_now()
    with tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder, running(MEASURED, Path(folder)) as data_dir:
        loaded(data_dir, WARM_UP, rate)
        stages = tuple(measured(data_dir, orders // STAGES, number + 1, rate) for number in range(STAGES))
    record = Record(
        recorded_at=now(), commit=commit(), machine=machine, manifest=manifest(MEASURED), rate=rate, stages=stages
    )
    name = keep("growing-", record, record.recorded_at).name
    show("grown", f"{table(record)}\n\n{circumstances(record, name)}")
    print(table(record))
    return 0 if stages[-1].processors <= PROCESSOR_MB else 1


def measured(data_dir: Path, orders: int, number: int, rate: int) -> Stage:
    """Place the orders of one stage, and look at the processes before and after."""
    say(f"stage {number} of {STAGES}: {orders} orders, {rate} per second")
    pids = processes(data_dir)
    before = {name: cpu_ms(pid) for name, pid in pids.items()}
    report = loaded(data_dir, orders, rate)
    return Stage(
        stored=WARM_UP + number * orders,
        megabytes={name: round(resident_mb(pid), 1) for name, pid in pids.items()},
        cpu_ms={name: round((cpu_ms(pid) - before[name]) / orders, 3) for name, pid in pids.items()},
        completed=report.outcomes.get("Completed", 0),
        completed_per_second=round(report.completed_per_second, 1),
    )


def processes(data_dir: Path) -> Mapping[str, int]:
    """The process id of every process, by its name."""
    asked = [str(ORDERFLOW), "status", "--json", "--data-dir", str(data_dir)]
    # Its exit status says whether all are well, which the load says as well.
    status = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=False).stdout)
    return {process["name"]: process["pid"] for process in status["processes"]}


def cpu_ms(pid: int) -> float:
    """CPU time that a process has taken so far, its threads' included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process, pages that it shares with others included."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def table(record: Record) -> str:
    names = sorted({name for stage in record.stages for name in stage.megabytes if name.endswith("-0")})
    rows = [
        f"| {stage.stored:,} | {sum(stage.cpu_ms.values()):.1f} | {stage.completed_per_second:.0f} | "
        + " | ".join(f"{stage.megabytes[name]:.0f}" for name in ("order-api", *names))
        + " |"
        for stage in record.stages
    ]
    heading = ("orders stored", "CPU ms an order", "completed/s", *(f"{name}, MB" for name in ("order-api", *names)))
    return "\n".join([f"| {' | '.join(heading)} |", "|---" * len(heading) + "|", *rows])


def circumstances(record: Record, name: str) -> str:
    machine, orders = record.machine, record.stages[-1].stored
    return f"""\
- Recorded {record.recorded_at:%Y-%m-%d} in [results/{name}](results/{name}), at commit {record.commit}.
- {machine.cores} cores of {machine.cpu}; {orders:,} orders in the end, {record.rate}/s asked for. CPU is that of all
  processes together but the load generator; memory is what is resident, the pages that processes share included.
- `{record.manifest.file}`: SHA-256 `{record.manifest.sha256}`; {record.manifest.database}, durability
  {record.manifest.durability}."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
