"""The commands of the person on call, on the database of one context."""

from datetime import timedelta
from typing import Any

import pytest

from harness.desk import Desk
from harness.tally import NOON, ask
from orderflow.runtime.schema import audit_trail, letter_requests, outbox, tasks

HERE = ("--context", "inventory")
WHY = ("--reason", "mended", "--by", "ada")
LATER = NOON + timedelta(days=36_500)


def stop_an_order(desk: Desk) -> None:
    desk.take(ask("o1", "break"), ask("o1", number=2), ask("o2"))


class TestLooking:
    def test_shows_letters_by_cause_and_place(self, desk: Desk) -> None:
        stop_an_order(desk)
        desk.take(ask("o3", "break"), ask("o4", "refuse"))
        groups = desk.told("dlq", "list", *HERE)
        assert [(group["cause"], group["letters"], group["parked"]) for group in groups] == [
            ("decide-failed", 2, 1),
            ("refused", 1, 0),
        ]
        _, printed = desk.run("dlq", "list", *HERE)
        assert "decide-failed" in printed
        assert "ValueError at tally.py:_perhaps_fail" in printed

    def test_chooses_by_what_ails_them(self, desk: Desk) -> None:
        stop_an_order(desk)
        desk.take(ask("o4", "refuse"))
        place = desk.told("dlq", "list", *HERE)[0]["stackHash"]
        assert [one["key"] for one in desk.told("dlq", "list", "--each", *HERE, "--place", place)] == ["o1"]
        assert [one["key"] for one in desk.told("dlq", "list", "--each", *HERE, "--cause", "refused")] == ["o4"]
        assert [one["key"] for one in desk.told("dlq", "list", "--each", *HERE, "--key", "o4")] == ["o4"]
        assert desk.told("dlq", "list", "--each", *HERE, "--until", "2026-03-01T12:00:00Z") == []
        assert desk.told("dlq", "list", "--each", *HERE, "--type", "ReleaseInventory") == []

    def test_shows_a_letter_with_what_waits_and_what_was_done(self, desk: Desk) -> None:
        stop_an_order(desk)
        desk.run("dlq", "replay", "inventory/1", *WHY, "--wait", "0")
        _, printed = desk.run("dlq", "show", "inventory/1")
        assert "decide-failed: ValueError" in printed
        assert "header    ce_id: x" in printed
        assert "behind    OrderInventoryRequested ask-o1-2" in printed
        assert "ada: open -> replay asked for, mended" in printed

    def test_says_when_there_is_nothing(self, desk: Desk) -> None:
        assert desk.run("dlq", "list", *HERE) == (0, "no dead letter is open\n")
        assert desk.run("dlq", "show", "inventory/1") == (1, "orderflow: there is no dead letter inventory/1\n")
        assert desk.run("outbox", "list", *HERE) == (0, "nothing waits to be published\n")
        assert desk.run("tasks", "list", *HERE) == (0, "no such task is open\n")

    def test_of_a_database_that_is_not_there_is_a_sentence(self, desk: Desk) -> None:
        assert desk.run("dlq", "list") == (1, "orderflow: there is no database of order yet\n")


class TestReplaying:
    def test_asks_and_waits_for_the_owner(self, desk: Desk) -> None:
        stop_an_order(desk)
        status, printed = desk.run("dlq", "replay", "inventory/1", *WHY, "--wait", "0")
        assert (status, "1 not done yet" in printed) == (1, True)
        assert desk.carry_out() == ["failed"]
        assert desk.told("dlq", "list", "--each", *HERE)[0]["replays"] == 1

    def test_rehearsed_changes_nothing(self, desk: Desk) -> None:
        stop_an_order(desk)
        status, printed = desk.run("dlq", "replay", *HERE, *WHY, "--dry-run")
        assert (status, "1 to be replayed" in printed) == (0, True)
        assert desk.rows(letter_requests) == []
        assert [row for row in desk.rows(audit_trail) if row["actor"]] == []

    def test_at_a_rate_makes_later_letters_due_later(self, desk: Desk) -> None:
        for number in range(4):
            desk.take(ask(f"o{number}", "break"))
        desk.run("dlq", "replay", "--cause", "decide-failed", *HERE, *WHY, "--rate", "1000", "--wait", "0")
        due = [row["due_at"] for row in desk.rows(letter_requests)]
        assert [(later - due[0]).total_seconds() for later in due] == [0, 0.001, 0.002, 0.003]

    def test_passes_over_the_quarantine_unless_it_is_forced_by_name(self, desk: Desk) -> None:
        stop_an_order(desk)
        for _ in range(3):
            desk.run("dlq", "replay", "inventory/1", *WHY, "--wait", "0")
            desk.carry_out()
        assert "1 quarantined" in desk.run("dlq", "replay", *HERE, *WHY)[1]
        assert (
            desk.run("dlq", "replay", *HERE, *WHY, "--force")[1] == "orderflow: --force is for letters that are named\n"
        )
        assert "1 not done yet" in desk.run("dlq", "replay", "inventory/1", *WHY, "--force", "--wait", "0")[1]

    @pytest.mark.parametrize("arguments", [(), ("inventory/1", "--cause", "refused")])
    def test_is_of_letters_that_are_named_or_chosen(self, desk: Desk, arguments: tuple[str, ...]) -> None:
        status, printed = desk.run("dlq", "replay", *arguments, *WHY)
        assert (status, "one of the two" in printed) == (1, True)

    def test_has_a_reason(self, desk: Desk) -> None:
        status, printed = desk.run("dlq", "replay", "inventory/1")
        assert (status, "Missing option '--reason'" in printed) == (2, True)

    def test_of_what_is_not_there_is_a_sentence(self, desk: Desk) -> None:
        assert desk.run("dlq", "replay", "inventory/7", *WHY)[1] == "orderflow: there is no dead letter inventory/7\n"


class TestDiscarding:
    def test_lets_what_waits_follow(self, desk: Desk) -> None:
        stop_an_order(desk)
        desk.run("dlq", "discard", "inventory/1", *WHY, "--wait", "0")
        assert desk.carry_out() == ["discarded"]
        assert desk.run("dlq", "list", *HERE)[1] == "no dead letter is open\n"
        assert len(desk.told("dlq", "list", "--each", "--status", "discarded", *HERE)) == 1
        status, printed = desk.run("dlq", "replay", "inventory/1", *WHY)
        assert (status, "1 not open" in printed) == (1, True)


class TestTheOutbox:
    def test_shows_what_waits(self, desk: Desk) -> None:
        desk.take(ask("o1"))
        (row,) = desk.told("outbox", "list", *HERE)
        assert (row["eventType"], row["key"]) == ("InventoryReserved", "o1")
        assert "InventoryReserved" in desk.run("outbox", "list", *HERE)[1]

    def test_publishes_once_more_what_was_published_and_says_who_wanted_it(self, desk: Desk) -> None:
        desk.take(ask("o1"), ask("o2"))
        with desk.engine.begin() as connection:
            connection.execute(outbox.update().values(published_at=outbox.c.created_at))
        assert desk.run("outbox", "republish", "--key", "o1", *HERE, *WHY, "--dry-run")[0] == 0
        assert desk.told("outbox", "list", *HERE) == []
        status, printed = desk.run("outbox", "republish", "--key", "o1", *HERE, *WHY, "--wait", "0")
        assert (status, "1 not done yet" in printed) == (1, True)
        assert [row["key"] for row in desk.told("outbox", "list", *HERE)] == ["o1"]
        (act,) = [row for row in desk.rows(audit_trail) if row["actor"]]
        assert (act["actor"], act["key"], act["step"], act["after"]) == ("ada", "o1", "outbox", "waiting")

    def test_wants_to_know_what(self, desk: Desk) -> None:
        assert "choose what to publish once more" in desk.run("outbox", "republish", *HERE, *WHY)[1]


class TestTasks:
    def postpone(self, desk: Desk, kind: str = "call", **values: Any) -> None:
        """Leave the tasks of a kind as a failed attempt does."""
        standing = {"due_at": LATER, "claimed_by": None, "claimed_until": None, **values}
        with desk.engine.begin() as connection:
            connection.execute(tasks.update().where(tasks.c.kind == kind).values(standing))

    def test_are_shown_with_their_troubles(self, desk: Desk) -> None:
        desk.take(ask("o1", "call timer"))
        self.postpone(desk, attempts=3, unclear=True, last_error="Unclear")
        self.postpone(desk, "timer")
        (call,) = desk.told("tasks", "list", "--troubled", *HERE)
        assert (call["what"], call["attempts"], call["unclear"]) == ("card/charge", 3, True)
        assert (call["lastError"], call["overdue"]) == ("Unclear", False)
        assert [one["what"] for one in desk.told("tasks", "list", *HERE)] == ["card/charge", "ReservationDue"]
        assert "card/charge" in desk.run("tasks", "list", *HERE)[1]

    def test_are_overdue_when_nobody_is_at_work_on_them(self, desk: Desk) -> None:
        desk.take(ask("o1", "call"))
        assert desk.told("tasks", "list", *HERE)[0]["overdue"] is True
        self.postpone(desk, due_at=NOON, claimed_by="inventory-0/a", claimed_until=LATER)
        (call,) = desk.told("tasks", "list", *HERE)
        assert (call["overdue"], call["claimedBy"]) == (False, "inventory-0/a")

    def test_that_are_retried_are_due_now_and_nothing_else_about_them_changes(self, desk: Desk) -> None:
        desk.take(ask("o1", "call timer"))
        self.postpone(desk, attempts=3, unclear=True)
        before = desk.rows(tasks)[0]
        assert desk.run("tasks", "retry", "--troubled", *HERE, *WHY, "--dry-run")[0] == 0
        assert desk.rows(tasks)[0] == before
        status, printed = desk.run("tasks", "retry", "--troubled", *HERE, *WHY)
        assert (status, printed) == (0, "inventory/call-o1  due-now\n1 due-now\n")
        after = desk.rows(tasks)[0]
        assert after["due_at"] < LATER
        assert {**after, "due_at": LATER} == before
        (act,) = [row for row in desk.rows(audit_trail) if row["actor"]]
        assert (act["actor"], act["event_id"], act["step"], act["detail"]) == ("ada", "call-o1", "task", "mended")

    def test_are_left_to_whoever_is_at_work_on_them(self, desk: Desk) -> None:
        desk.take(ask("o1", "call"))
        self.postpone(desk, claimed_by="inventory-0/a", claimed_until=LATER)
        assert "under-way" in desk.run("tasks", "retry", "inventory/call-o1", *WHY)[1]
        self.postpone(desk, due_at=NOON)
        assert "due-already" in desk.run("tasks", "retry", "inventory/call-o1", *WHY)[1]
        self.postpone(desk, status="done")
        assert desk.run("tasks", "retry", "inventory/call-o1", *WHY) == (1, "inventory/call-o1  not-open\n1 not-open\n")

    def test_that_are_timers_have_to_be_named(self, desk: Desk) -> None:
        desk.take(ask("o1", "timer"))
        self.postpone(desk, "timer")
        assert desk.run("tasks", "retry", "--key", "o1", *HERE, *WHY)[1] == "no such task is open\n"
        assert "due-now" in desk.run("tasks", "retry", "inventory/timer-o1", *WHY)[1]

    def test_are_named_or_chosen(self, desk: Desk) -> None:
        assert "one of the two" in desk.run("tasks", "retry", *WHY)[1]
