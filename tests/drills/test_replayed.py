"""Every topic is read again from its first message: what was decided once is not decided twice."""

import time

import pytest

from harness.drill import IN_FLIGHT, Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from orderflow.spec.resource import CONTEXTS

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SET_BACK = """UPDATE consumed_offsets SET "offset" = -1, last_event_id = ''"""
IN_THE_INBOX = "SELECT count(*) FROM processed_events WHERE topic <> ''"
ENDING = 300
"""So many more are in flight before: while the system stops in order, orders go on."""


def test_all_topics_are_read_again_from_the_start(stage: Stage) -> None:
    with stage("replayed", UNHURRIED) as drill, drill.ordering(enough=IN_FLIGHT + ENDING):
        drill.enough_in_flight()
        drill.system.down()
        drill.seen.in_flight = drill.books.in_flight()
        read = {context: messages_read(drill, context) for context in CONTEXTS}
        known = sum(drill.books.rows(context, IN_THE_INBOX)[0][0] for context in CONTEXTS)
        for context in CONTEXTS:
            assert drill.books.write(context, SET_BACK) > 0
        since = time.monotonic()
        drill.system.up()
        eventually(lambda: caught_up(drill, read), "everything was read again", within=300)
        drill.recovered("all topics read again", since)
        eventually(lambda: dropped(drill) >= known, f"{known} messages are dropped as known")
        drill.saw(messages_read_again=sum(read.values()), dropped_by_the_inboxes=dropped(drill))


def dropped(drill: Drill) -> int:
    return drill.gauges.total("orderflow_messages_processed_total", 'outcome="duplicate"')


def messages_read(drill: Drill, context: str) -> int:
    return sum(place.offset + 1 for place in drill.books.ledger(context).values())


def caught_up(drill: Drill, read: dict[str, int]) -> bool:
    return all(messages_read(drill, context) >= number for context, number in read.items())
