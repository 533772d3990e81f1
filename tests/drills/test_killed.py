"""Every processor is killed once, with hundreds of orders in flight, and nothing is lost or doubled."""

import time

import pytest

from harness.drill import Stage
from harness.outside import UNHURRIED
from orderflow.spec.resource import CONTEXTS

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]


def test_every_processor_is_killed_once(stage: Stage) -> None:
    with stage("killed", UNHURRIED) as drill, drill.ordering():
        for context in CONTEXTS:
            drill.enough_in_flight()
            before = drill.books.ledger(context)
            since = time.monotonic()
            killed = drill.system.kill(f"{context}-0")
            drill.moves_again(context, context, since, before)
            assert drill.system.pid(f"{context}-0", other_than=killed) != killed
        restarts = {context: drill.system.process(f"{context}-0").restarts for context in CONTEXTS}
        assert all(restarts.values()), restarts
        drill.saw(processes_gone=sum(restarts.values()))
