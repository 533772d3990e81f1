"""The verification on PostgreSQL, whose text has an order of its own: that of a language rather than of code points."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from harness.dropping import drop_all
from harness.fakes import StillClock
from harness.pump import PROVIDERS, REVISION, System, all_contexts, open_store
from harness.story import ORDERS, create, live_through_everything
from orderflow.verification import Report, verify
from servers.postgres import Postgres

NAMES = (*all_contexts(), PROVIDERS)


@pytest.fixture(scope="module")
def system(postgres: Postgres) -> Iterator[System]:
    """A system in which everything has happened."""
    for name in NAMES:
        postgres.execute(
            f"CREATE DATABASE verified_{name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'"
        )
    system = System(lambda name: postgres.url(f"verified_{name}"))
    live_through_everything(system)
    # In English these come in another order than in code points.
    for order_id in ("b", "B", "a", "A", "a-b", "ab", "a_b"):
        create(system, order_id, "payment-first")
    system.settle()
    yield system
    system.close()
    for name in NAMES:
        postgres.execute(f"DROP DATABASE verified_{name} WITH (FORCE)")


def verified(system: System, **how: Any) -> Report:
    store = open_store(system.addresses)
    try:
        return verify(system.databases, [store], system.contexts, now=system.clock.now(), **how)
    finally:
        store.dispose()


def test_every_promise_is_kept(system: System) -> None:
    report = verified(system)
    assert [promise for promise in report.promises if not promise.ok] == []
    assert report.ok
    assert report.orders == len(ORDERS) + 7


def test_what_is_young_is_left_alone(system: System) -> None:
    report = verified(system, online=True)
    assert report.ok
    # The story ended with a wait of more than the grace; what came after is young, and so is the order whose first
    # event opened the window that was reported at the end of the wait.
    assert report.left_alone == 7 + 1


def test_a_spoiled_row_is_named(system: System) -> None:
    spoiled = "UPDATE payments SET captured = captured + {} WHERE order_id = 'a-b'"
    with system.databases["payment"].begin() as connection:
        connection.exec_driver_sql(spoiled.format(1))
    (found,) = (promise for promise in verified(system).promises if not promise.ok)
    assert found.name == "state-readable"
    assert [violation.order_id for violation in found.violations] == ["a-b"]
    with system.databases["payment"].begin() as connection:
        connection.exec_driver_sql(spoiled.format(-1))


def test_what_is_dropped_after_its_time_is_named_and_breaks_no_promise(system: System) -> None:
    for name, context in system.contexts.items():
        drop_all(context, system.databases[name], StillClock(system.clock.now()), revision=REVISION)
    report = verified(system)
    assert [promise for promise in report.promises if not promise.ok] == []
    assert report.orders == len(ORDERS) + 7
    assert {period.context for period in report.dropped} == set(system.contexts)
    # A second walk raises the horizon and finds nothing more.
    later = StillClock(system.clock.now() + timedelta(hours=1))
    drop_all(system.contexts["order"], system.databases["order"], later, revision=REVISION)
    assert verified(system).ok


def test_a_database_that_is_away_is_a_sentence(system: System, postgres: Postgres) -> None:
    postgres.stop()
    try:
        (problem,) = verified(system).problems
    finally:
        postgres.start()
    assert problem.startswith("a database could not be read: ")
