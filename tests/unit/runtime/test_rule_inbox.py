"""The inbox catches what was published twice; the same id with other bytes is a dead letter."""

from dataclasses import replace

import pytest

from harness.process import Api, Process, Site, column
from harness.tally import TALLY, ask, due
from orderflow.contracts import codec
from orderflow.runtime.schema import dead_letters, outbox, processed_events

COMMANDS = ("inventory-commands", 0)


def outcomes(process: Process) -> dict[str, float]:
    """How often each thing became of a message, by the telemetry."""
    return {
        sample.labels["outcome"]: sample.value
        for family in process.telemetry.registry.collect()
        for sample in family.samples
        if sample.name == "orderflow_messages_processed_total"
    }


async def test_a_message_is_remembered_with_the_hash_of_its_bytes_and_what_became_of_it(process: Process) -> None:
    await process.take(ask("o1"))
    (row,) = process.rows(processed_events)
    assert (row["group"], row["event_id"], row["status"]) == ("inventory", "ask-o1-1", "applied")
    assert len(row["hash"]) == 64
    assert row["raw"] is None


async def test_a_message_that_was_published_twice_is_decided_once(process: Process) -> None:
    await process.take(ask("o1"))
    await process.take(ask("o1"), ask("o2"))
    assert process.seen("o1") == ("ask-o1-1",)
    assert process.seen("o2") == ("ask-o2-1",)
    assert outcomes(process) == {"applied": 2, "duplicate": 1}
    assert not process.rows(dead_letters)


async def test_also_where_both_come_in_one_batch(process: Process) -> None:
    await process.take(ask("o1"), ask("o1"))
    assert process.seen("o1") == ("ask-o1-1",)
    assert not process.rows(dead_letters)


async def test_also_where_the_batch_has_to_be_done_message_by_message(process: Process) -> None:
    await process.take(ask("o1"), ask("o2", "violate"), ask("o1"))
    assert process.seen("o1") == ("ask-o1-1",)
    assert column(process.rows(dead_letters), "event_id") == ["ask-o2-1"]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_the_same_id_with_other_bytes_is_a_dead_letter_and_the_first_stands(
    process: Process, together: bool
) -> None:
    impostor = codec.encode(ask("o1", "end"))
    process.site.broker.put(ask("o1"))
    if not together:
        await process.fetch()
    process.site.broker.put(impostor, topic=COMMANDS[0], key="o1")
    await process.fetch()
    tally = process.tally("o1")
    assert tally is not None
    assert (tally.seen, tally.over) == (("ask-o1-1",), False)
    (letter,) = process.rows(dead_letters)
    assert (letter["cause"], letter["event_id"], letter["raw"]) == ("conflict", "ask-o1-1", impostor)
    assert column(process.rows(processed_events), "status") == ["applied"]


async def test_equal_bytes_that_cannot_be_read_are_buried_once(process: Process) -> None:
    for _ in range(3):
        process.site.broker.put(b"{nope", topic=COMMANDS[0], key="o1")
        await process.fetch()
    assert len(process.rows(dead_letters)) == 1


async def test_it_is_kept_per_group(site: Site, process: Process) -> None:
    await process.take(due("o1"))
    another = await site.joined("other-0/b", context=replace(TALLY, name="other"))
    await another.fetch()
    assert column(another.rows(processed_events), "group") == ["inventory", "other"]
    assert another.seen("o1") == ("due-o1-1", "due-o1-1")


async def test_what_the_api_has_decided_is_known_too(process: Process) -> None:
    Api(process).apply(ask("o1"))
    await process.take(ask("o1"))
    assert process.seen("o1") == ("ask-o1-1",)
    assert outcomes(process) == {"duplicate": 1}


async def test_an_outcome_that_the_relay_published_twice_counts_once(process: Process) -> None:
    await process.take(due("o1"), ask("o1"), due("o1"))
    assert process.seen("o1") == ("due-o1-1", "ask-o1-1")


async def test_what_was_buried_is_not_buried_again_when_the_topic_is_read_again(process: Process) -> None:
    """Schedule: a conflict was buried; the partition is started over and brings the same records once more."""
    impostor = codec.encode(ask("o1", "end"))
    process.site.broker.put(ask("o1"))
    process.site.broker.put(impostor, topic=COMMANDS[0], key="o1")
    process.site.broker.put(ask("o2"))
    await process.fetch()
    await process.sql.run(process.unit.restart_at, COMMANDS, 2, 0)
    await process.leave()
    again = await process.site.joined("inventory-1/b")
    await again.fetch()
    assert len(again.rows(dead_letters)) == 1
    assert column(again.rows(outbox), "event_type").count("DeadLetter") == 1
    await again.take(ask("o3"))
    assert again.seen("o3") == ("ask-o3-1",)
