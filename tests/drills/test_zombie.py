"""A processor is frozen past its session and replaced; it comes back as a zombie and writes nothing."""

import os
import signal
import time

import pytest
from sqlalchemy.exc import OperationalError

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.system import eventually
from harness.whole import state_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FROZEN, REPLACEMENT = "payment-0", "payment-1"
FENCED = "fenced: another process has the partition"
WRITES_ON = 3.0
"""Seconds for which the replacement works while the zombie is still frozen."""
TIMES = 6
"""It is frozen so often at the most, until it has woken up with something in hand to be written."""


def test_a_frozen_processor_that_wakes_up_past_its_session_writes_nothing(stage: Stage) -> None:
    spec = {**UNHURRIED, "processors": {"payment": {"replicas": 2}}}
    with stage("zombie", spec) as drill, drill.ordering():
        pid = drill.system.pid(FROZEN)
        taken_over = 0
        for _ in range(TIMES):
            taken_over += freeze_and_wake(drill, pid)
            if refused(drill):
                break
        assert drill.system.process(FROZEN).restarts == 0, "it was not a zombie that came back, but a new process"
        drill.saw(partitions_taken_over_while_frozen=taken_over, transactions_refused_to_the_zombie=refused(drill))
        assert refused(drill) > 0, f"in {TIMES} times it never had anything to write when it woke up"


def refused(drill: Drill) -> int:
    return len(drill.system.said(FROZEN, FENCED))


def freeze_and_wake(drill: Drill, pid: int) -> int:
    drill.enough_in_flight()
    owned = eventually(lambda: owned_by(drill, FROZEN), f"{FROZEN} has partitions")
    since = time.monotonic()
    freeze_between_transactions(drill, pid)
    try:
        before = {partition: drill.books.ledger("payment")[partition] for partition in owned}
        eventually(lambda: owned <= owned_by(drill, REPLACEMENT), f"{REPLACEMENT} takes over", within=25)
        drill.moves_again("the replacement's partitions", "payment", since, before)
        time.sleep(WRITES_ON)
        assert state_of(pid) == "T"
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: owned_by(drill, FROZEN), f"{FROZEN} is given partitions again", within=60)
    return len(owned)


def owned_by(drill: Drill, name: str) -> set[tuple[str, int]]:
    ledger = drill.books.ledger("payment")
    return {partition for partition, place in ledger.items() if (place.owner or "").startswith(f"{name}/")}


def freeze_between_transactions(drill: Drill, pid: int) -> None:
    """Stop the process where it does not have SQLite's one lock: with it, it would keep its replacement waiting too."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state_of(pid) == "T", f"{pid} is frozen")
        try:
            drill.books.write("payment", "UPDATE allowed_revisions SET revision = revision")
        except OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)
        else:
            return
