"""The broker is restarted twice, once in order and once as by a power cut: what was acknowledged is there."""

import os
import signal
import time

import pytest

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from harness.whole import state_of

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

BROKER = "kafka"


def test_the_broker_is_restarted(stage: Stage) -> None:
    with stage("broker-restarted", UNHURRIED) as drill, drill.ordering():
        for how in (signal.SIGTERM, signal.SIGKILL):
            restart(drill, how)
        restarts = drill.system.process(BROKER).restarts
        assert restarts == 2
        drill.saw(brokers_gone=restarts, processors_that_said_so=len(complaining(drill)))


def restart(drill: Drill, how: signal.Signals) -> None:
    drill.enough_in_flight()
    pid = drill.system.pid(BROKER)
    os.kill(pid, how)
    eventually(lambda: state_of(pid) in {"", "Z"}, "the broker is gone", within=60)
    since = time.monotonic()
    before = {context: drill.books.ledger(context) for context in ("order", "payment", "fulfillment")}
    drill.system.pid(BROKER, other_than=pid)
    drill.recovered(f"the broker, after {how.name}", since)
    for context, ledger in before.items():
        drill.moves_again(f"{context}, after {how.name}", context, since, ledger)


def complaining(drill: Drill) -> set[str]:
    said = drill.gauges.complaints.items()
    return {name for name, complaints in said if any("broker" in it or "relay" in it for it in complaints)}
