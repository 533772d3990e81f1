"""A message that cannot be decided: kept whole with its reason, and only its order waits."""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from harness.process import Process, Site, by, column
from harness.tally import TALLY, ask, due, reply, undo
from orderflow.contexts.order import order_context
from orderflow.contracts import codec
from orderflow.contracts.envelope import Message
from orderflow.runtime import inbox
from orderflow.runtime.database import reading
from orderflow.runtime.incoming import Record, read
from orderflow.runtime.schema import consumed_offsets, dead_letters, outbox, processed_events
from orderflow.runtime.unit_of_work import NEVER_PARKED
from orderflow.saga.flow import FlowBook

COMMANDS = ("inventory-commands", 0)
NEWER = msgspec.json.encode({**msgspec.json.decode(codec.encode(ask("o1"))), "schemaVersion": "2.0"})
UNKNOWN = b'{"eventType":"Unheard","eventId":"u1","orderId":"o1","customer":{"name":"Ada Lovelace"}}'
INVALID = b'{"eventType":"OrderInventoryRequested","eventId":"i1","orderId":"o1","items":7}'

BAD: Mapping[str, bytes] = {
    "undecodable": b'{"eventType": "OrderInventoryRequested", "name": "Ada',
    "unknown-type": UNKNOWN,
    "unknown-major": NEWER,
    "invalid": INVALID,
    "refused": codec.encode(ask("o1", "refuse")),
    "decide-failed": codec.encode(ask("o1", "break")),
    "data-error": codec.encode(ask("o1", "violate")),
}
"""A message per cause."""


def statuses(process: Process) -> dict[str, str]:
    return {row["event_id"]: row["status"] for row in process.rows(processed_events)}


async def buried(process: Process, raw: bytes, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    process.site.broker.put(raw, topic=COMMANDS[0], key="o1", headers=headers)
    await process.fetch()
    (letter,) = process.rows(dead_letters)
    return letter


class TestTheLetter:
    @pytest.mark.parametrize("cause", BAD)
    async def test_is_stored_with_raw_bytes_reason_and_origin(self, process: Process, cause: str) -> None:
        await process.take(ask("o0"))
        letter = await buried(process, BAD[cause], {"ce_id": "x"})
        assert letter["cause"] == cause
        assert letter["raw"] == BAD[cause]
        assert letter["reason"]
        assert (letter["topic"], letter["partition"], letter["offset"]) == (*COMMANDS, 1)
        assert (letter["key"], letter["group"], letter["revision"]) == ("o1", "inventory", "r1")
        assert (letter["status"], letter["headers"]) == ("open", '{"ce_id":"x"}')

    @pytest.mark.parametrize("cause", BAD)
    async def test_goes_to_the_dead_letter_topic_through_the_outbox(self, process: Process, cause: str) -> None:
        await buried(process, BAD[cause])
        (copy,) = [row for row in process.rows(outbox) if row["event_type"] == "DeadLetter"]
        headers = msgspec.json.decode(copy["headers"])
        assert (copy["topic"], copy["key"]) == ("inventory-commands-dlq", "o1")
        assert headers["dlq_cause"] == cause
        assert headers["dlq_origin"] == "inventory-commands[0]@0"
        assert headers["dlq_reason"]
        assert headers["dlq_group"] == "inventory"
        await process.publish()
        assert copy["event_id"] in process.site.broker.ids()

    @pytest.mark.parametrize("cause", BAD)
    async def test_stops_its_order_and_never_its_partition(self, process: Process, cause: str) -> None:
        process.site.broker.put(ask("before"))
        process.site.broker.put(BAD[cause], topic=COMMANDS[0], key="o1")
        process.site.broker.put(ask("behind"))
        await process.fetch()
        assert process.seen("before")
        assert process.seen("behind")
        assert process.tally("o1") is None
        assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["offset"] == 2

    async def test_is_masked_in_the_copy_and_whole_in_the_table(self, process: Process) -> None:
        letter = await buried(process, UNKNOWN)
        (copy,) = process.rows(outbox)
        assert b"Ada Lovelace" in letter["raw"]
        assert b"Ada Lovelace" not in copy["payload"]
        assert b'"u1"' in copy["payload"]

    async def test_quotes_nothing_that_a_failing_decision_said(self, process: Process) -> None:
        letter = await buried(process, BAD["decide-failed"])
        (copy,) = process.rows(outbox)
        assert "Ada" not in letter["reason"] + copy["headers"]
        assert "ValueError" in letter["reason"]

    async def test_has_a_stack_hash_that_is_equal_for_failures_at_one_place(self, process: Process) -> None:
        await process.take(ask("o1", "break"), ask("o2", "break"), ask("o3", "crash"))
        first, second, third = column(process.rows(dead_letters), "stack_hash")
        assert first == second != third
        assert first

    async def test_is_part_of_the_telemetry(self, process: Process) -> None:
        await buried(process, UNKNOWN)
        assert process.metric("orderflow_dead_letters_total", message="?", cause="unknown-type") == 1


class TestParking:
    async def test_later_messages_of_that_order_wait_and_the_ledger_goes_on(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        await process.take(ask("o1", number=2), ask("o2"))
        await process.take(ask("o1", number=3))
        assert statuses(process) == {
            "ask-o1-1": "dead",
            "ask-o1-2": "parked",
            "ask-o2-1": "applied",
            "ask-o1-3": "parked",
        }
        assert process.tally("o1") is None
        assert by(process.rows(consumed_offsets), "topic")[COMMANDS[0]]["offset"] == 3

    async def test_also_in_the_batch_of_the_bad_message_itself(self, process: Process) -> None:
        await process.take(ask("o1"), ask("o1", "break", number=2), ask("o1", number=3))
        assert process.seen("o1") == ("ask-o1-1",)
        assert statuses(process)["ask-o1-3"] == "parked"

    async def test_also_where_the_batch_is_done_message_by_message(self, process: Process) -> None:
        await process.take(ask("o1", "violate"), ask("o1", number=2), ask("o2"))
        assert statuses(process) == {"ask-o1-1": "dead", "ask-o1-2": "parked", "ask-o2-1": "applied"}

    async def test_also_where_they_come_by_another_topic(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        await process.take(reply("o1"))
        assert statuses(process)["reply-o1"] == "parked"

    async def test_also_behind_bytes_whose_record_names_no_key(self, process: Process) -> None:
        process.site.broker.put(NEWER, topic=COMMANDS[0])
        process.site.broker.put(ask("o1", number=2))
        await process.fetch()
        await process.take(ask("o1", number=3), ask("o2"))
        assert process.tally("o1") is None
        assert process.seen("o2")

    async def test_what_waits_is_kept_whole_in_the_order_of_its_arrival(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        process.site.broker.put(ask("o1", number=3), headers={"traceparent": "00-1"})
        process.site.broker.put(ask("o1", number=2))
        await process.fetch()
        with reading(process.engine) as connection:
            waiting = inbox.parked(connection, "inventory", "o1")
        assert [incoming.message for incoming in waiting] == [ask("o1", number=3), ask("o1", number=2)]
        assert waiting[0].record.headers == {"traceparent": "00-1"}

    async def test_a_compensation_is_decided_and_supersedes_what_could_not_be(self, process: Process) -> None:
        await process.take(ask("o1", "break"), ask("o2", "break"))
        await process.take(ask("o1", number=2))
        await process.take(undo("o1"))
        assert process.seen("o1") == ("undo-o1-1",)
        assert statuses(process)["ask-o1-2"] == "superseded"
        assert column(process.rows(dead_letters), "status") == ["superseded", "open"]
        with reading(process.engine) as connection:
            assert inbox.parked(connection, "inventory", "o1") == []

    async def test_behind_the_compensation_the_order_goes_on(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        await process.take(undo("o1"), ask("o1", number=2))
        await process.take(ask("o1", number=3))
        assert process.seen("o1") == ("undo-o1-1", "ask-o1-2", "ask-o1-3")

    async def test_also_where_all_of_it_comes_in_one_batch(self, process: Process) -> None:
        """Schedule: the bad request, one behind it and the compensation are decided in one transaction."""
        await process.take(ask("o1", "break"), ask("o1", number=2), undo("o1"))
        assert statuses(process)["ask-o1-2"] == "superseded"
        assert column(process.rows(dead_letters), "status") == ["superseded"]
        await process.take(ask("o1", number=3))
        assert process.seen("o1") == ("undo-o1-1", "ask-o1-3")

    async def test_what_fails_behind_the_compensation_stops_the_order_anew(self, process: Process) -> None:
        await process.take(ask("o1", "break"), undo("o1"), ask("o1", "break", number=2), ask("o1", number=3))
        assert column(process.rows(dead_letters), "status") == ["superseded", "open"]
        assert statuses(process)["ask-o1-3"] == "parked"

    async def test_a_compensation_that_fails_supersedes_nothing(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        await process.take(undo("o1", reason="break"))
        assert column(process.rows(dead_letters), "status") == ["open", "open"]

    async def test_outcomes_of_the_contexts_own_tasks_never_park(self, process: Process) -> None:
        await process.take(ask("o1", "break"))
        await process.take(due("o1"))
        assert process.seen("o1") == ("due-o1-1",)
        assert column(process.rows(dead_letters), "status") == ["open"]

    def test_every_outcome_of_a_task_is_one_of_them(self) -> None:
        assert {kind.__name__ for kind in NEVER_PARKED} == {
            "CarrierAnswered",
            "ChargeAnswered",
            "DeliveryAnswered",
            "RefundAnswered",
            "ReservationDue",
            "StepDeadline",
            "WindowDue",
        }

    async def test_a_context_whose_table_is_total_never_parks(self, site: Site) -> None:
        process = await site.joined(context=replace(TALLY, parks=False))
        await process.take(ask("o1", "break"), ask("o1", number=2))
        await process.take(ask("o1", number=3))
        assert process.seen("o1") == ("ask-o1-2", "ask-o1-3")

    def test_the_order_context_is_one(self) -> None:
        assert not order_context(FlowBook()).parks


class TestADataError:
    @pytest.mark.parametrize("does", ["violate", "misname"], ids=["the database objects", "the code objects"])
    async def test_redoes_the_batch_message_by_message_and_only_the_bad_one_dies(
        self, process: Process, does: str
    ) -> None:
        await process.take(ask("o1", "call"), ask("o2", does), ask("o3", items={"p": 1}), ask("o1", number=2))
        assert column(process.rows(dead_letters), "event_id") == ["ask-o2-1"]
        assert process.seen("o1") == ("ask-o1-1", "ask-o1-2")
        assert process.seen("o3") == ("ask-o3-1",)
        assert process.tally("o2") is None
        sent = [row for row in process.rows(outbox) if row["event_type"] == "InventoryReserved"]
        assert column(sent, "key") == ["o1", "o3", "o1"]

    async def test_leaves_nothing_of_the_bad_message_behind(self, process: Process) -> None:
        await process.take(ask("o2", "violate call", items={"p": 5}))
        left = {name for name, rows in process.everything().items() if rows}
        assert left == {"allowed_revisions", "consumed_offsets", "processed_events", "dead_letters", "outbox"}

    async def test_does_what_the_good_ones_asked_for(self, process: Process) -> None:
        await process.take(ask("o1", "call"), ask("o2", "violate"))
        await process.settle()
        assert process.site.provider.asked == [("call", "key-o1")]
        assert set(process.table.data) == {"o1"}

    async def test_that_is_found_while_reading_is_the_messages_own(self, site: Site) -> None:
        assert TALLY.shared is not None

        def needs(_tally: object, message: Message) -> list[str]:
            if message.order_id == "o2":
                raise LookupError("no such thing")
            return []

        process = await site.joined(context=replace(TALLY, shared=replace(TALLY.shared, needs=needs)))
        await process.take(ask("o1"), ask("o2"), ask("o3"))
        assert column(process.rows(dead_letters), "event_id") == ["ask-o2-1"]
        assert process.seen("o3")

    @pytest.mark.parametrize("table", ["pots", "tallies"])
    async def test_that_two_writers_of_one_row_caused_is_nobodys_fault(self, site: Site, table: str) -> None:
        """Schedule: the row is missing when it is read, and there when it is inserted; twice."""
        process = await site.joined()
        races = 2

        def somebody_was_faster(statement: str) -> bool:
            nonlocal races
            if races and statement.startswith(f"INSERT INTO {table} "):
                races -= 1
                raise taken()
            return False

        process.faults.on = somebody_was_faster
        await process.take(ask("o1", items={"p": 1}))
        assert not races
        assert not process.rows(dead_letters)
        assert process.seen("o1") == ("ask-o1-1",)

    async def test_that_comes_again_and_again_is_the_messages_own(self, process: Process) -> None:
        def always(statement: str) -> bool:
            if statement.startswith("INSERT INTO pots "):
                raise taken()
            return False

        process.faults.on = always
        await process.take(ask("o1", items={"p": 1}), ask("o2"))
        assert column(process.rows(dead_letters), "cause") == ["data-error"]
        assert process.seen("o2") == ("ask-o2-1",)


def taken() -> sqlite3.IntegrityError:
    """What the driver raises for a key that is there already."""
    error = sqlite3.IntegrityError("UNIQUE constraint failed")
    error.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return error


class TestKeysThatNoColumnTakes:
    @pytest.mark.parametrize("key", ["k" * 201, "o\0"], ids=["too long", "with a NUL"])
    def test_are_digested_so_that_they_cannot_stop_the_partition(self, key: str) -> None:
        first, second = (read(Record(COMMANDS[0], 0, 0, key, raw, {})) for raw in (b"{", b"["))
        assert len(first.key) <= 200
        assert "\0" not in first.key
        assert first.key == second.key

    def test_the_others_stay_as_they_are(self) -> None:
        assert read(Record(COMMANDS[0], 0, 0, "k" * 200, b"{", {})).key == "k" * 200
