"""PostgreSQL is restarted under all contexts, in order and as by a crash: a transaction is there or it is not."""

import time
from collections.abc import Callable

import pytest

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from servers.postgres import Postgres, url_of_contexts

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

AWAY_FOR = 10.0
"""Seconds; longer than a call is claimed for, and than anybody's patience with a lock."""
WATCHED = ("order", "payment", "fulfillment")


def test_the_database_is_restarted(stage: Stage, postgres: Postgres) -> None:
    spec = {**UNHURRIED, "database": {"url": url_of_contexts(postgres)}}
    with stage("database-restarted", spec) as drill:
        with drill.ordering() as customers:
            restart(drill, postgres, postgres.stop, "an orderly stop")
            restart(drill, postgres, postgres.crash, "a crash")
            refused = customers.refused
        complaining = {name for name, said in drill.gauges.complaints.items() if any("database" in it for it in said)}
        drill.saw(orders_refused_meanwhile=refused, processes_that_said_so=len(complaining))
        assert refused > 0
        assert {f"{context}-0" for context in WATCHED} <= complaining


def restart(drill: Drill, postgres: Postgres, end: Callable[[], None], how: str) -> None:
    drill.enough_in_flight()
    before = {context: drill.books.ledger(context) for context in WATCHED}
    end()
    time.sleep(AWAY_FOR)
    postgres.start()
    since = time.monotonic()
    for context, ledger in before.items():
        drill.system.pid(f"{context}-0")
        drill.moves_again(f"{context}, after {how}", context, since, ledger)
