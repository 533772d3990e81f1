"""A partition that has messages waiting and records none is fetched anew, however busy its neighbours are."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from harness.fakes import Watch
from orderflow.contexts.payment import PAYMENT
from orderflow.runtime import worker as module
from orderflow.runtime.ledger import Partition
from orderflow.runtime.worker import SILENT_AFTER, Settings, Worker

SILENT: Partition = ("payment-commands", 0)
BUSY: Partition = ("payment-commands", 1)


class Fetches:
    def __init__(self) -> None:
        self.sought: list[dict[Partition, int]] = []

    async def seek(self, offsets: Mapping[Partition, int]) -> None:
        self.sought.append(dict(offsets))

    def pause(self, partitions: Collection[Partition]) -> None:
        raise AssertionError("nothing is to be paused")

    def resume(self, partitions: Collection[Partition]) -> None:
        raise AssertionError("nothing was paused")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(module, "time", watch)
    return watch


@pytest.fixture
async def worker(tmp_path: Path, watch: Watch) -> Worker:
    settings = Settings(
        context=PAYMENT,
        instance="payment-0",
        broker="127.0.0.1:1",
        prefix="",
        partitions=2,
        database_url=f"sqlite:///{tmp_path / 'payment.sqlite'}",
        durability="normal",
        revision="r",
        host="127.0.0.1",
        port=1,
    )
    return Worker(settings)


async def test_a_silent_partition_beside_a_busy_one_is_fetched_anew(worker: Worker, watch: Watch) -> None:
    fetches = worker._fetching = Fetches()  # type: ignore[assignment]
    for step in range(int(SILENT_AFTER) + 2):
        watch.now += 1.0
        worker.processor.progress = watch.now
        await worker._look_for_silence({SILENT: 7, BUSY: step})
    assert fetches.sought == [{SILENT: 8}]


async def test_a_partition_that_goes_on_is_left_alone(worker: Worker, watch: Watch) -> None:
    fetches = worker._fetching = Fetches()  # type: ignore[assignment]
    for step in range(3 * int(SILENT_AFTER)):
        watch.now += 1.0
        worker.processor.progress = watch.now
        await worker._look_for_silence({BUSY: step})
    assert fetches.sought == []


async def test_while_the_infrastructure_is_away_nobody_is_silent(worker: Worker, watch: Watch) -> None:
    fetches = worker._fetching = Fetches()  # type: ignore[assignment]
    worker.processor.away = "database"
    for _ in range(200):
        watch.now += 1.0
        await worker._look_for_silence({SILENT: 7})
    assert fetches.sought == []


async def test_a_worker_in_which_nothing_goes_on_leaves(worker: Worker, watch: Watch) -> None:
    worker._fetching = Fetches()  # type: ignore[assignment]
    worker.processor.progress = watch.now
    watch.now += module.LEAVE_AFTER + 1
    with pytest.raises(RuntimeError, match="stuck"):
        await worker._look_for_silence({SILENT: 7})
