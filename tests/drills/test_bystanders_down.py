"""Notification and analytics are down for the whole run: no order waits for them, and they miss nothing."""

import time
from functools import partial

import pytest

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

BYSTANDERS = ("notification", "analytics")
FOR = 15.0


def test_notification_and_analytics_are_down_for_the_whole_run(stage: Stage) -> None:
    with stage("bystanders-down", UNHURRIED) as drill:
        for context in BYSTANDERS:
            take_down(drill, context)
        with drill.ordering():
            drill.enough_in_flight()
            time.sleep(FOR)
        drill.all_end()
        completed = list(drill.books.orders().values()).count("completed")
        told = drill.books.rows("notification", "SELECT count(*) FROM notification_log")[0][0]
        assert told == 0
        drill.saw(processes_down=len(BYSTANDERS), completed_without_them=completed, told_meanwhile=told)
        bring_back(drill)
        told = drill.books.rows("notification", "SELECT count(*) FROM notification_log")[0][0]
        drill.saw(messages_that_waited=drill.gauges.peak("orderflow_consumer_lag"), told_afterwards=told)
        assert drill.gauges.peak("orderflow_consumer_lag", "notification") > 0


def take_down(drill: Drill, context: str) -> None:
    """Have the processor leave and not come back: its revision is not allowed to write any more."""
    assert drill.books.write(context, "UPDATE allowed_revisions SET revision = 'another'") == 1
    eventually(lambda: drill.system.process(f"{context}-0").state == "stopped", f"{context}-0 has left", within=60)


def bring_back(drill: Drill) -> None:
    drill.system.down()
    drill.system.up()
    since = time.monotonic()
    for context in BYSTANDERS:
        eventually(partial(caught_up, drill, context), f"{context} has caught up", within=300)
        drill.recovered(f"{context} has caught up", since)


def caught_up(drill: Drill, context: str) -> bool:
    sent = drill.books.rows("order", "SELECT count(*) FROM outbox WHERE topic = 'order-events'")[0][0]
    return read_of(drill, context, "order-events") >= int(sent)


def read_of(drill: Drill, context: str, topic: str) -> int:
    ledger = drill.books.ledger(context)
    return sum(place.offset + 1 for partition, place in ledger.items() if partition[0] == topic)
