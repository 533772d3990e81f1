"""Decisions, API writes and claims of tasks assert that their revision is allowed; marking as published does not."""

import pytest

from harness.process import Api, Process, Site, column, remove_revision
from harness.tally import ask
from orderflow.runtime.database import RevisionRemoved, allow_revision
from orderflow.runtime.schema import consumed_offsets, outbox, tasks


async def test_a_removed_revision_decides_nothing(process: Process) -> None:
    remove_revision(process)
    before = process.everything()
    with pytest.raises(RevisionRemoved):
        await process.take(ask("o1"))
    assert process.everything() == before


async def test_a_process_that_finds_itself_removed_leaves(process: Process) -> None:
    remove_revision(process)
    with pytest.raises(RevisionRemoved):
        await process.take(ask("o1"))
    assert process.run().done()


async def test_it_signs_its_partitions_off_for_nothing_is_unclean(process: Process) -> None:
    remove_revision(process)
    with pytest.raises(RevisionRemoved):
        await process.take(ask("o1"))
    await process.leave()
    assert column(process.rows(consumed_offsets), "owner") == [None, None]


async def test_another_revision_goes_on_where_it_left(site: Site, process: Process) -> None:
    with process.engine.begin() as connection:
        allow_revision(connection, "r2", site.clock.now())
    remove_revision(process)
    with pytest.raises(RevisionRemoved):
        await process.take(ask("o1"))
    await process.leave()
    newer = site.process("inventory-1/b", revision="r2")
    await newer.join()
    await newer.fetch()
    assert newer.seen("o1") == ("ask-o1-1",)


async def test_an_api_of_a_removed_revision_writes_nothing(process: Process) -> None:
    remove_revision(process)
    before = process.everything()
    with pytest.raises(RevisionRemoved):
        Api(process).apply(ask("o1"))
    assert process.everything() == before


async def test_a_removed_revision_takes_over_no_partition(site: Site, process: Process) -> None:
    remove_revision(process)
    with pytest.raises(RevisionRemoved):
        await site.joined("inventory-1/b")
    assert set(column(process.rows(consumed_offsets), "owner")) == {"inventory-0/a"}


async def test_a_removed_revision_claims_no_task(process: Process) -> None:
    await process.take(ask("o1", "timer"))
    process.site.clock.advance(61)
    remove_revision(process)
    with pytest.raises(RevisionRemoved):
        await process.tasks.run_due_once()
    assert column(process.rows(tasks), "claimed_by") == [None]


async def test_a_removed_revision_records_no_outcome(process: Process) -> None:
    await process.take(ask("o1", "call"))
    remove_revision(process)
    await process.answered(1)
    with pytest.raises(RevisionRemoved):
        await process.tasks.settle_once()
    assert column(process.rows(tasks), "status") == ["open"]
    assert len(process.rows(outbox)) == 1


async def test_it_gives_its_claims_back_all_the_same(process: Process) -> None:
    await process.take(ask("o1", "call"))
    remove_revision(process)
    await process.answered(1)
    with pytest.raises(RevisionRemoved):
        await process.tasks.settle_once()
    await process.tasks.stop()
    (task,) = process.rows(tasks)
    assert (task["claimed_by"], task["unclear"], task["status"]) == (None, True, "open")


async def test_marking_what_the_broker_has_acknowledged_needs_no_revision(process: Process) -> None:
    await process.take(ask("o1"))
    remove_revision(process)
    await process.publish()
    assert column(process.rows(outbox), "published_at") == [process.site.clock.now()]


async def test_nor_does_the_relay(site: Site, process: Process) -> None:
    await process.take(ask("o1"))
    remove_revision(process)
    site.clock.advance(2)
    relaying = site.process("inventory-1/b")
    assert await relaying.relay.publish_once() == 1
    assert column(process.rows(outbox), "published_at") == [site.clock.now()]
