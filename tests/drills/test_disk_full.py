"""The disk with everything on it is full for a while: nothing that was told to anybody is lost.

It needs root: the data directory is a file system of its own, in memory.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

SIZE = "768m"
FULL_FOR = 25.0
MORE = 50
"""So many more customers come while the disk is full."""
WATCHED = ("order", "payment", "fulfillment")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Have the drill's data directory on a small file system of its own."""
    assert os.geteuid() == 0, "this drill mounts a file system, which needs root: run it as root"
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "drill", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_disk_is_full(stage: Stage, small_disk: Path) -> None:
    with stage("disk-full", UNHURRIED) as drill, drill.ordering() as customers:
        drill.enough_in_flight()
        before = {context: drill.books.ledger(context) for context in WATCHED}
        filler = small_disk / "filler"
        fill(filler)
        customers.enough += MORE
        stop = time.monotonic() + FULL_FOR
        while time.monotonic() < stop:
            fill(filler)
            time.sleep(0.2)
        assert is_full(small_disk)
        refused = customers.refused
        filler.unlink()
        since = time.monotonic()
        wait_until_well(drill)
        drill.recovered("all processes ready", since)
        for context, ledger in before.items():
            drill.moves_again(context, context, since, ledger)
        complaining = {name for name, said in drill.gauges.complaints.items() if any("database" in it for it in said)}
        restarts = {process.name: process.restarts for process in drill.system.status().processes}
        drill.saw(orders_refused_meanwhile=refused, processes_that_said_so=len(complaining))
        drill.saw(brokers_gone=restarts.pop("kafka"), other_processes_restarted=sum(restarts.values()))
        # SQLite goes on for as long as its log has room from before; Kafka does not.
        assert refused or complaining or drill.seen.fault["brokers_gone"], "nobody noticed that the disk was full"


def fill(file: Path) -> None:
    """Write until nothing more can be written."""
    with file.open("ab", buffering=0) as out:
        for size in (1 << 20, 4096):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue


def is_full(folder: Path) -> bool:
    left = os.statvfs(folder)
    return left.f_bavail * left.f_bsize < 1 << 20


def wait_until_well(drill: Drill) -> None:
    eventually(lambda: drill.system.status().ready, "everything is ready again", within=120)
