"""A message that one revision gives up on is decided again by the other: then it is known whose fault it is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.process import Process, Site, column, remove_revision
from harness.tally import TALLY, ask, decide, due
from orderflow.contracts.commands import OrderInventoryRequested
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime.database import allow_revision
from orderflow.runtime.schema import dead_letters, letter_requests
from orderflow.runtime.second_opinion import SecondOpinion

CANARY = "r2"
QUARANTINE_AFTER = 3


def mended(tally: Any, pots: Mapping[str, Any], message: Message) -> Decision[Any]:
    """What the canary refuses, stable decides; what breaks, breaks for both."""
    refused = isinstance(message, OrderInventoryRequested) and "refuse" in message.request_id
    return decide(tally, pots, due(message.order_id) if refused else message)


async def canary(site: Site) -> Process:
    """A canary that has all partitions, beside nobody yet."""
    process = site.process("inventory-0/canary", revision=CANARY)
    with process.engine.begin() as connection:
        allow_revision(connection, CANARY, site.clock.now())
    await process.join()
    return process


def stable(site: Site, *, decides: Any = mended) -> tuple[Process, SecondOpinion]:
    process = site.process("inventory-0/stable", context=replace(TALLY, decide=decides))
    return process, SecondOpinion(process.unit, process.sql, process.telemetry, QUARANTINE_AFTER)


def judged(process: Process, fault: str) -> float:
    return process.metric("orderflow_dead_letters_judged", revision=CANARY, fault=fault)


async def test_what_the_other_decides_is_the_revision_s_fault_and_the_rest_the_message_s(site: Site) -> None:
    broken = await canary(site)
    await broken.take(ask("o1", "refuse"), ask("o2", "break"))
    process, opinion = stable(site)
    before = process.everything()
    await opinion.look_once()
    assert (judged(process, "revision"), judged(process, "message")) == (1, 1)
    assert process.everything() == before, "to judge is to write nothing"


async def test_what_fails_on_both_is_the_message_s_fault(site: Site) -> None:
    broken = await canary(site)
    await broken.take(ask("o1", "refuse"))
    process, opinion = stable(site, decides=decide)
    await opinion.look_once()
    assert judged(process, "message") == 1


async def test_a_revision_s_own_letters_are_not_its_business(site: Site) -> None:
    broken = await canary(site)
    await broken.take(ask("o1", "refuse"))
    await SecondOpinion(broken.unit, broken.sql, broken.telemetry, QUARANTINE_AFTER).look_once()
    assert [family.samples for family in broken.telemetry.judged.collect()] == [[]]


async def test_while_the_revision_may_write_nothing_is_replayed(site: Site) -> None:
    broken = await canary(site)
    await broken.take(ask("o1", "refuse"))
    process, opinion = stable(site)
    await opinion.look_once()
    assert process.rows(letter_requests) == []


async def test_when_it_was_taken_back_its_letters_are_replayed_on_stable(site: Site) -> None:
    broken = await canary(site)
    await broken.take(ask("o1", "refuse"), ask("o2", "break"))
    process, opinion = stable(site)
    await opinion.look_once()
    remove_revision(process, CANARY)
    await broken.leave()
    await process.join()
    await opinion.look_once()
    assert column(process.rows(letter_requests), "letter_id") == [1]

    await process.readmitting.look_once()
    await opinion.look_once()
    assert column(process.rows(dead_letters), "status") == ["replayed", "open"]
    assert (judged(process, "revision"), judged(process, "message")) == (0, 1)
