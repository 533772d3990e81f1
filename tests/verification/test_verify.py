from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from harness.ground import Ground
from harness.pump import PROVIDERS, System, open_store
from harness.story import ORDERS, create
from orderflow.contexts.payment import PAYMENT
from orderflow.contracts.commands import RefundPayment
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.contracts.money import ZERO
from orderflow.contracts.topics import PAYMENT_COMMANDS
from orderflow.verification import Report, render, verify
from orderflow.verification.report import SHOWN


def failing(_state: object, _shared: object, message: Message) -> Decision[Any]:
    """Today's code of a context, which fails."""
    raise ArithmeticError(message.event_id)


def broken(report: Report) -> set[str]:
    return {promise.name for promise in report.promises if not promise.ok}


def verified(system: System, **how: object) -> Report:
    store = open_store(system.addresses)
    try:
        return verify(system.databases, [store], system.contexts, now=system.clock.now(), **how)  # type: ignore[arg-type]
    finally:
        store.dispose()


class TestTheReport:
    def test_says_how_it_all_adds_up(self, ground: Ground) -> None:
        totals = ground.verify().totals
        assert (totals.completed, totals.cancelled, totals.live) == (6, 5, 0)
        assert totals.captured == totals.kept + totals.refunded
        assert totals.refunded > 0

    def test_is_json_a_program_can_read(self, ground: Ground) -> None:
        report = msgspec.json.decode(msgspec.json.encode(ground.verify()))
        assert report["ok"] is True
        assert report["orders"] == len(ORDERS)
        first = report["promises"][0]
        assert first.keys() == {"name", "promise", "ok", "checked", "dropped", "violated", "violations"}

    def test_names_the_first_of_many_and_counts_them_all(self, ground: Ground) -> None:
        ground.spoil("payment", "UPDATE outbox SET published_at = NULL")
        found = next(promise for promise in ground.verify().promises if promise.name == "outbox-published")
        assert found.violated > SHOWN
        assert len(found.violations) == SHOWN
        assert f"and {found.violated - SHOWN:,} more" in render(ground.verify())

    def test_reads_as_a_verdict(self, ground: Ground) -> None:
        assert render(ground.verify()).splitlines()[-1] == "11 orders verified: every promise is kept"


class TestWhatIsNotThere:
    def test_without_orders_nothing_is_proven(self, system: System) -> None:
        report = verified(system)
        assert not report.ok
        assert broken(report) == set()
        assert report.problems == ("there are no orders: nothing was verified",)
        assert render(report).splitlines()[-1] == "nothing is proven"

    def test_a_missing_database_is_named_and_not_made(self, ground: Ground) -> None:
        ground.remove("payment")
        report = ground.verify()
        assert not report.ok
        assert report.problems == (f"the database of payment is not there: sqlite:///{ground.file('payment')}",)
        assert not ground.file("payment").exists()

    def test_a_missing_table_is_named(self, ground: Ground) -> None:
        ground.spoil("inventory", "DROP TABLE stock")
        report = ground.verify()
        assert not report.ok
        assert report.problems == (
            f"the database of inventory has no table stock: sqlite:///{ground.file('inventory')}",
        )

    def test_a_file_that_is_no_database_is_a_sentence(self, ground: Ground) -> None:
        ground.remove("order")
        ground.file("order").write_bytes(b"not a database" * 100)
        (problem,) = ground.verify().problems
        assert problem == "a database could not be read: file is not a database"

    def test_a_provider_that_was_never_called_has_no_record(self, ground: Ground) -> None:
        ground.remove(PROVIDERS)
        report = ground.verify()
        assert broken(report) == {"card-agrees", "carrier-agrees", "notified-once"}
        assert not ground.file(PROVIDERS).exists()

    def test_orders_that_nobody_can_read_are_not_nothing(self, ground: Ground) -> None:
        ground.spoil("order", "UPDATE orders SET data = '{'")
        report = ground.verify()
        assert report.problems == ()
        assert report.orders == len(ORDERS)
        assert "state-readable" in broken(report)


class TestASystemThatRuns:
    """``online`` leaves alone what is young, and what is on its way."""

    def test_an_order_under_way_is_no_fault(self, system: System) -> None:
        create(system, "waiting", "payment-first")
        system.settle(resting={"payment"})
        assert broken(verified(system)) >= {"order-terminal", "message-processed"}
        report = verified(system, online=True)
        assert report.ok
        assert (report.orders, report.left_alone) == (0, 1)

    def test_an_order_that_waits_for_longer_than_the_grace_is_one_if_its_messages_do(self, system: System) -> None:
        create(system, "waiting", "payment-first")
        system.settle(resting={"payment"})
        system.clock.advance(7)
        report = verified(system, online=True, grace=timedelta(seconds=5))
        # Its deadline of ten seconds will move it on; but payment has left its request lying.
        assert broken(report) == {"message-processed"}

    def test_an_order_that_nothing_will_move_is_lost(self, system: System) -> None:
        create(system, "lost", "payment-first")
        system.settle(resting={"payment"})
        with system.databases["order"].begin() as connection:
            connection.exec_driver_sql("DELETE FROM tasks")
        system.clock.advance(61)
        assert "order-terminal" in broken(verified(system, online=True))

    def test_a_deadline_that_nobody_fires_is_left_lying(self, system: System) -> None:
        create(system, "waiting", "payment-first")
        system.settle(resting={"payment"})
        system.clock.advance(75)
        assert "task-settled" in broken(verified(system, online=True))

    def test_a_message_that_has_just_been_written_may_wait(self, ground: Ground) -> None:
        ground.spoil("payment", "UPDATE outbox SET published_at = NULL WHERE key = 'sold'")
        young = ground.now - timedelta(seconds=70)
        assert ground.verify(online=True, now=young).ok
        assert "outbox-published" in broken(ground.verify(online=True, now=ground.now + timedelta(hours=1)))

    def test_what_stands_still_for_longer_is_held_to_everything(self, ground: Ground) -> None:
        ground.spoil("inventory", "DELETE FROM processed_events WHERE key = 'sold' AND event_type = 'OrderCompleted'")
        assert "message-processed" in broken(ground.verify(online=True, now=ground.now + timedelta(hours=1)))

    def test_sums_within_one_database_hold_at_every_moment(self, ground: Ground) -> None:
        ground.spoil("inventory", "UPDATE stock SET data = json_set(data, '$.consumed', 0)")
        assert {"stock-adds-up", "stock-held"} <= broken(ground.verify(online=True))


class TestAMessageThatCannotBeDecided:
    """It stops one order, which is not lost: the report tells of it, and keeps no promise for broken."""

    def test_an_order_stopped_by_it_has_not_ended_and_breaks_nothing(self, system: System) -> None:
        create(system, "stopped", "payment-first")
        create(system, "sold", "payment-first")
        system.broker.append(PAYMENT_COMMANDS, "stopped", b"{no message", {})
        system.settle()
        report = verified(system)
        assert broken(report) == set()
        assert report.totals.live == 1
        assert report.dead_letters == 1
        assert [(letter.order_id, letter.context, letter.cause) for letter in report.letters] == [
            ("stopped", "payment", "undecodable")
        ]
        assert "order stopped: payment could not decide a message (undecodable)" in render(report)

    def test_once_it_can_be_and_is_replayed_its_order_completes(self, system: System) -> None:
        system.deploy("payment", replace(PAYMENT, decide=failing))
        create(system, "stopped", "payment-first")
        system.settle()
        system.wait(11)
        assert verified(system).dead_letters == 1
        system.deploy("payment", PAYMENT)
        system.see_to("payment", 1, "replay", "payment is mended")
        system.settle()
        report = verified(system)
        assert broken(report) == set()
        assert (report.dead_letters, report.totals.completed) == (0, 1)

    def test_that_came_from_outside_and_was_let_in_by_name_breaks_nothing(self, system: System) -> None:
        create(system, "declined", "payment-first", customer="customer-declined")
        system.settle()
        system.deploy("payment", replace(PAYMENT, decide=failing))
        at = system.clock.now()
        system.send(
            RefundPayment(
                event_id="by-hand", order_id="declined", request_id="r", amount=ZERO, reason="", requested_at=at
            )
        )
        system.settle()
        system.deploy("payment", PAYMENT)
        system.see_to("payment", 1, "replay", "sent by hand")
        system.settle()
        report = verified(system)
        assert broken(report) == set()
        assert (report.dead_letters, report.totals.cancelled) == (0, 1)

    def test_that_is_discarded_lets_its_order_come_to_an_end_without_it(self, system: System) -> None:
        create(system, "stopped", "payment-first")
        system.broker.append(PAYMENT_COMMANDS, "stopped", b"{no message", {})
        system.settle()
        system.see_to("payment", 1, "discard", "not ours")
        for _ in range(6):
            system.wait(130)
        report = verified(system)
        assert broken(report) == set()
        assert report.dead_letters == 0

    def test_its_order_still_comes_to_an_end(self, system: System) -> None:
        create(system, "stopped", "payment-first")
        system.broker.append(PAYMENT_COMMANDS, "stopped", b"{no message", {})
        system.settle()
        for _ in range(6):
            system.wait(130)
        report = verified(system)
        assert broken(report) == set()
        assert report.totals.cancelled == 1
