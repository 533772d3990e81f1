"""Who may be in the consumer group, and when."""

import asyncio
from pathlib import Path

import pytest

from harness.fakes import StillClock
from harness.process import REVISION, Process, Site, remove_revision
from orderflow.runtime import admission
from orderflow.runtime.admission import Admission
from orderflow.runtime.database import allow_revision
from orderflow.runtime.share import Share


class Outside:
    """A process that may or may not come in."""

    def __init__(self, process: Process, file: Path | None = None) -> None:
        self.process = process
        self.file = file or Path()
        self.admission = Admission(Share(file), process.engine, REVISION, process.telemetry)
        self.checked = False
        self.rejoined = 0

    async def works(self) -> None:
        self.checked = True

    def asks(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.admission.granted(self.works))

    async def says(self, why: str) -> None:
        async with asyncio.timeout(10):
            while self.admission.waiting != why:  # noqa: ASYNC110 - it is looked at from outside, as readiness is
                await asyncio.sleep(0)

    def rejoin(self) -> None:
        self.rejoined += 1

    def may_have(self, share: str) -> None:
        self.file.write_text(share)

    def is_member(self) -> bool:
        return self.process.metric("orderflow_group_member") == 1


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "LOOK_EVERY", 0.001)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "share"
    file.write_text("0")
    return file


@pytest.fixture
def outside(site: Site, file: Path) -> Outside:
    return Outside(site.process(), file)


async def test_without_a_share_s_file_everybody_comes_in_at_once(site: Site) -> None:
    inside = Outside(site.process())
    await inside.asks()
    assert inside.is_member()
    assert not inside.checked


async def test_without_a_share_it_checks_itself_and_waits(outside: Outside) -> None:
    asking = outside.asks()
    await outside.says("no share of the partitions")
    assert outside.checked
    assert outside.admission.check().ok
    assert not outside.is_member()
    outside.may_have("2")
    await asking
    assert outside.is_member()
    assert outside.process.metric("orderflow_partitions_allowed") == 2


async def test_a_revision_that_may_not_write_does_not_come_in_until_it_may(outside: Outside) -> None:
    remove_revision(outside.process)
    asking = outside.asks()
    await outside.says("no share of the partitions")
    outside.may_have("all")
    await outside.says("the revision may not write")
    assert not outside.is_member()
    with outside.process.engine.begin() as connection:
        allow_revision(connection, REVISION, StillClock(outside.process.site.clock.now()).now())
    await asking
    assert outside.is_member()


async def test_a_database_that_is_away_is_waited_for(outside: Outside) -> None:
    asking = outside.asks()
    await outside.says("no share of the partitions")
    outside.process.faults.after(0)
    outside.may_have("all")
    await outside.says("the database is away")
    outside.process.faults.mend()
    await asking


async def test_another_share_rejoins_and_none_leaves(outside: Outside) -> None:
    outside.may_have("3")
    outside.admission.share.look()
    assert not outside.admission.withdrawn(outside.rejoin)
    assert outside.rejoined == 0
    outside.may_have("all")
    assert not outside.admission.withdrawn(outside.rejoin)
    assert outside.rejoined == 1
    outside.may_have("0")
    assert outside.admission.withdrawn(outside.rejoin)
    assert outside.rejoined == 1
