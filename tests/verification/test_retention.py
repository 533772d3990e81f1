"""Whatever is dropped after its time, what `verify` says stays true, and it says what it could not check."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.dropping import drop_all
from harness.fakes import StillClock
from harness.ground import Ground
from harness.pump import REVISION, START, System, files_in, open_store
from harness.story import LAMP, ORDERS, create
from orderflow.runtime.retention import Keeping
from orderflow.verification import Report, dropped, render, verify

FIELDS = ("inbox", "outbox", "tasks", "decisions", "audit_trail")
AT_ONCE = dict.fromkeys(FIELDS, 0.0)
NO_TIME = timedelta(0)


def drop(ground: Ground | System, context: str, seconds: Mapping[str, float], now: StillClock) -> None:
    """Drop what has had its time in one context's database."""
    keeping = Keeping(**{name: timedelta(seconds=seconds[name]) for name in FIELDS})
    drop_all(ground.contexts[context], ground.databases[context], now, revision=REVISION, keeping=keeping)


def by_name(report: Report) -> dict[str, tuple[bool, int, int]]:
    return {promise.name: (promise.ok, promise.checked, promise.dropped) for promise in report.promises}


@pytest.fixture(scope="module")
def copy(lived: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The files of a system in which everything has happened; whoever drops from them brings them back."""
    folder = tmp_path_factory.mktemp("brief") / "files"
    brief = Ground(lived.pristine, folder, lived.now)
    for name in brief.databases:
        brief.spoil(name, "DELETE FROM decisions WHERE key <> 'sold'")
    brief.close()
    ground = Ground(folder, tmp_path_factory.mktemp("retained") / "files", lived.now)
    yield ground
    ground.close()


@pytest.fixture(scope="module")
def a_day_later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A system with an order of yesterday and one of today, which was sold."""
    folder = tmp_path_factory.mktemp("days")
    system = System(files_in(folder))
    system.declare(LAMP)
    system.settle()
    for name in ("early", "sold"):
        create(system, name, "payment-first")
        system.settle()
        system.wait(timedelta(days=1).total_seconds())
    system.close()
    ground = Ground(folder, tmp_path_factory.mktemp("days") / "copy", system.clock.now())
    yield ground
    ground.close()


@pytest.fixture(autouse=True)
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All contexts have the same time here, and the story is shorter than clocks may differ."""
    monkeypatch.setattr(dropped, "SKEW", NO_TIME)


ages = st.integers(0, 200).map(float) | st.floats(65, 85)
"""Seconds: the story takes some 80 of them, and most of it happens in the first fifteen."""
LAIN = timedelta(seconds=12)
"""Who rests in the story leaves messages lying for so long."""
kept = st.fixed_dictionaries(dict.fromkeys(FIELDS, ages))
every_context = ("order", "payment", "inventory", "fulfillment", "notification", "analytics")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keeping=st.dictionaries(st.sampled_from(every_context), kept, min_size=1))
@example(keeping=dict.fromkeys(every_context, AT_ONCE))
@example(keeping={"order": AT_ONCE})
@example(keeping={"payment": AT_ONCE, "inventory": {**AT_ONCE, "outbox": 200.0}})
def test_what_was_dropped_is_not_held_against_anybody_and_is_named(
    copy: Ground, keeping: dict[str, dict[str, float]]
) -> None:
    whole = copy.verify()
    try:
        for context, seconds in keeping.items():
            copy._touched.add(context)
            drop(copy, context, seconds, StillClock(copy.now))
        report = copy.verify(topic_life=LAIN)
    finally:
        copy.restore()
    assert [(promise.name, promise.violations) for promise in report.promises if not promise.ok] == []
    assert (report.orders, report.totals) == (whole.orders, whole.totals)
    dropped_from = {(period.context, period.table) for period in report.dropped}
    for promise, then in by_name(whole).items():
        _, checked, lacking = by_name(report)[promise]
        if checked + lacking < then[1]:
            assert dropped_from, "what is checked no more is named as a period at the least"
        if lacking:
            assert f"{lacking:,} not checked" in render(report)
    if not dropped_from:
        assert by_name(report) == by_name(whole)


def test_orders_are_verified_as_before_by_what_is_never_dropped(copy: Ground) -> None:
    for context in copy.databases:
        copy._touched.add(context)
        drop(copy, context, AT_ONCE, StillClock(copy.now))
    report = copy.verify(topic_life=NO_TIME)
    copy.restore()
    found = by_name(report)
    not_held = {name for name, (_, _, lacking) in found.items() if lacking}
    assert not_held == {"order-accepted", "ended-once", "audit-trail", "completed-as-planned"}
    for name in ("one-capture", "ledger-balances", "money-accounted", "card-agrees", "carrier-agrees", "notified-once"):
        assert found[name][1] == len(ORDERS)
    assert found["completed-as-planned"] == (True, len(ORDERS) - 3, 3), (
        "who shipped three of them, only their trails said"
    )
    assert len(report.dropped) == len(copy.databases) * len(FIELDS) - 2, "two contexts keep no trail that has a line"
    assert render(report).splitlines()[-1].endswith("kept, as far as what was recorded is still there")


@pytest.mark.parametrize(
    ("promise", "context", "statement"),
    [
        ("order-accepted", "order", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'OrderCreated'"),
        ("ended-once", "order", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'OrderCompleted'"),
        ("audit-trail", "payment", "DELETE FROM audit_trail WHERE key = 'sold'"),
        ("message-processed", "order", "DELETE FROM processed_events WHERE key = 'sold' AND topic = 'payment-events'"),
        ("message-sent", "payment", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'PaymentSucceeded'"),
        ("outcome-recorded", "payment", "DELETE FROM outbox WHERE key = 'sold' AND event_type = 'ChargeAnswered'"),
        ("outcome-recorded", "payment", "DELETE FROM tasks WHERE key = 'sold'"),
    ],
)
def test_what_is_lost_from_after_the_horizon_is_lost(
    a_day_later: Ground, promise: str, context: str, statement: str
) -> None:
    noon = StillClock(START + timedelta(hours=12))
    for name in a_day_later.databases:
        a_day_later._touched.add(name)
        drop(a_day_later, name, AT_ONCE, noon)
    before = a_day_later.verify()
    assert a_day_later.spoil(context, statement) >= 1
    report = a_day_later.verify(topic_life=timedelta(hours=1))
    a_day_later.restore()
    assert before.ok
    # The flow ships nothing.
    assert {period.context for period in before.dropped} == a_day_later.databases.keys() - {"fulfillment"}
    (broken,) = [found for found in report.promises if found.name == promise]
    assert {violation.order_id for violation in broken.violations} == {"sold"}


def test_an_order_that_is_under_way_ends_as_if_nothing_had_been_dropped(system: System) -> None:
    create(system, "sold", "payment-first")
    system.settle()
    create(system, "open", "order-to-delivery")
    create(system, "waiting", "reserve-first", customer="customer-declined")
    system.settle(resting={"payment", "fulfillment"})
    system.clock.advance(5)
    for context in system.databases:
        drop(system, context, AT_ONCE, StillClock(system.clock.now()))
    system.settle()
    system.wait(70)
    store = open_store(system.addresses)
    report = verify(system.databases, [store], system.contexts, now=system.clock.now(), topic_life=NO_TIME)
    store.dispose()
    assert [(promise.name, promise.violations) for promise in report.promises if not promise.ok] == []
    assert (report.totals.completed, report.totals.cancelled, report.totals.live) == (2, 1, 0)
    assert report.dropped
