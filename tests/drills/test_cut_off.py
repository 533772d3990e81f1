"""One context is cut off from the broker, or from its database, or what it says and hears is late: the others go on.

A proxy stands before the server and knows whose each connection is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.drill import Drill, Stage
from harness.outside import UNHURRIED
from harness.proxy import Proxy, kafka_client, postgres_database
from harness.system import eventually
from servers.kafka import running_kafka
from servers.postgres import Postgres, url_of_contexts
from servers.process import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

VICTIM = "payment"
FOR = 15.0
"""Seconds: longer than a session, an acknowledgement and the first deadline of a payment."""
LATE = 0.25
"""Seconds that each part of the stream is late, in both directions. A batch on PostgreSQL has some ten statements."""

Fault = Callable[[Proxy, str], None]

CUT: Fault = Proxy.cut
SILENCE: Fault = Proxy.silence


def slow(proxy: Proxy, victim: str) -> None:
    proxy.slow(victim, LATE)


@contextmanager
def broker_behind(folder: Path) -> Iterator[tuple[Proxy, dict[str, Any]]]:
    port = free_port()
    with (
        running_kafka(folder / "broker", told=port) as broker,
        Proxy(port, broker.broker.port, kafka_client, counts_itself=False) as proxy,
    ):
        yield proxy, {"broker": {"address": f"127.0.0.1:{port}"}}


@contextmanager
def database_behind(postgres: Postgres) -> Iterator[tuple[Proxy, dict[str, Any], str]]:
    port, direct = free_port(), url_of_contexts(postgres)
    # What is encrypted does not begin with the database's name.
    through = direct.replace(f":{postgres.port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"
    with Proxy(port, postgres.port, postgres_database, counts_itself=True) as proxy:
        yield proxy, {"database": {"url": through}}, direct


@pytest.mark.long
@pytest.mark.parametrize("fault", [CUT, SILENCE, slow], ids=["cut", "silent", "slow"])
def test_one_context_is_cut_off_from_the_broker(
    stage: Stage, tmp_path: Path, fault: Fault, request: pytest.FixtureRequest
) -> None:
    with broker_behind(tmp_path) as (proxy, spec), stage(f"broker-{told(request)}", {**UNHURRIED, **spec}) as drill:
        cut_off(drill, proxy, f"{VICTIM}-", fault)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(CUT, id="cut"),
        pytest.param(SILENCE, id="silent", marks=pytest.mark.long),
        pytest.param(slow, id="slow", marks=pytest.mark.long),
    ],
)
def test_one_context_is_cut_off_from_its_database(
    stage: Stage, postgres: Postgres, fault: Fault, request: pytest.FixtureRequest
) -> None:
    with (
        database_behind(postgres) as (proxy, spec, direct),
        stage(f"database-{told(request)}", {**UNHURRIED, **spec}, database=direct) as drill,
    ):
        victim = next(name for name in proxy.passed if name.endswith(f"_{VICTIM}"))
        cut_off(drill, proxy, victim, fault)


def told(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.id)


def cut_off(drill: Drill, proxy: Proxy, victim: str, fault: Fault) -> None:
    with drill.ordering():
        drill.enough_in_flight()
        fault(proxy, victim)
        time.sleep(FOR)
        before = None if fault is slow else drill.books.ledger(VICTIM)
        proxy.clear()
        since = time.monotonic()
        if before is not None:
            drill.moves_again(VICTIM, VICTIM, since, before)
    eventually(lambda: drill.system.process(f"{VICTIM}-0").ready, f"{VICTIM}-0 is ready again", within=120)
    broken, refused, held = (proxy.count(counter, victim) for counter in (proxy.broken, proxy.refused, proxy.held))
    drill.saw(connections_broken=broken, connections_refused=refused, parts_of_the_stream_held_back=held)
    if fault is CUT:
        assert broken > 0
        assert refused > 0
    else:
        assert held > 0
