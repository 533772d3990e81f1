"""Runs every check over everything there is."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from orderflow.contexts.analytics.tables import WINDOWS, windows
from orderflow.contexts.inventory.tables import STOCK
from orderflow.contexts.order.tables import catalogue
from orderflow.providers.record import provider_records
from orderflow.runtime.context import Context
from orderflow.runtime.dropping import horizons_of
from orderflow.runtime.schema import metadata as recorded
from orderflow.verification import counting, fates, goods, letters, messages, money, notices, replay, trails, work
from orderflow.verification.case import Case
from orderflow.verification.dropped import Horizons, not_checkable
from orderflow.verification.gathering import Gathering, Snapshots, stored, young_keys
from orderflow.verification.reading import OutOfOrder, Unreachable, Walk, snapshot
from orderflow.verification.report import Findings, Report, failed
from orderflow.verification.tally import Tally

GRACE: Final = timedelta(seconds=60)
"""Longer than a restart, a rebalance and the retry of a call together."""

TOPIC_LIFE: Final = timedelta(days=14)
"""Kafka's own defaults: seven days of retention, and seven until a segment is closed."""

NOTHING: Final = "there are no orders: nothing was verified"

CASE_CHECKS: Final[Mapping[str, Callable[[Case], Iterator[str]]]] = {
    "order-accepted": fates.accepted,
    "key-answered": fates.answered,
    "order-terminal": fates.terminal,
    "ended-once": fates.ended_once,
    "audit-trail": trails.trails,
    "completed-as-planned": fates.as_planned,
    "cancelled-keeps-nothing": fates.keeps_nothing,
    "one-capture": money.one_capture,
    "ledger-balances": money.balances,
    "money-accounted": money.accounted,
    "card-agrees": money.card_agrees,
    "one-shipment": goods.one_shipment,
    "carrier-agrees": goods.carrier_agrees,
    "notified-once": notices.notified_once,
    "facts-counted": counting.counted_once,
    "analytics-agrees": counting.agrees,
    "task-settled": work.settled,
}
"""The promises that are held for each order by itself."""


_CATALOGUE = Walk(select(*(catalogue.c[name] for name in ("product_id", *goods.Shown._fields))), catalogue.c.product_id)
_WINDOWS = Walk(select(*(windows.c[name] for name in ("start", *counting.FIGURES))), windows.c.start)


def verify(
    databases: Mapping[str, Engine],
    providers: Sequence[Engine],
    contexts: Mapping[str, Context[Any]],
    *,
    now: datetime,
    online: bool = False,
    grace: timedelta = GRACE,
    topic_life: timedelta = TOPIC_LIFE,
) -> Report:
    """Check every promise.

    Args:
        databases: of every context, by its name.
        providers: the stores in which the simulated providers keep their records; one that is not there is empty.
        contexts: as they are configured, by name: recorded decisions are decided again by them.
        now: when the verification began.
        online: whether the system is running: what is younger than ``grace`` is left alone.
        topic_life: how long a message may lie on the broker before it is processed.
    """
    try:
        with ExitStack() as stack:
            snapshots = _snapshots(stack, databases, providers, contexts)
            horizons = Horizons({name: horizons_of(of) for name, of in snapshots.contexts.items()}, topic_life)
            return _report(snapshots, contexts, now - grace if online else None, horizons)
    except (Unreachable, OutOfOrder) as problem:
        return failed(str(problem))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        return failed(f"a database could not be read: {reason}")


def _snapshots(
    stack: ExitStack,
    databases: Mapping[str, Engine],
    providers: Sequence[Engine],
    contexts: Mapping[str, Context[Any]],
) -> Snapshots:
    opened: dict[str, Connection] = {}
    for name, context in contexts.items():
        if name not in databases:
            raise Unreachable(f"no database of {name} was named")
        try:
            opened[name] = snapshot(stack, databases[name], {*recorded.tables, *context.tables.tables})
        except Unreachable as problem:
            raise Unreachable(f"the database of {name} {problem}") from None
    stores: list[Connection] = []
    for engine in providers:
        try:
            stores.append(snapshot(stack, engine, provider_records.metadata.tables))
        except Unreachable:
            # A provider makes its record when it is first called. If it should have been, its orders will say so.
            continue
    return Snapshots(opened, stores)


def _report(
    snapshots: Snapshots, contexts: Mapping[str, Context[Any]], since: datetime | None, horizons: Horizons
) -> Report:
    findings = Findings()
    tally = _check_cases(snapshots, since, horizons, findings)
    _check_stock(snapshots, since, tally.held, findings)
    _check_windows(snapshots.contexts["analytics"], tally.recount, findings)
    messages.check(snapshots.contexts, contexts, since, horizons, findings)
    for name, connection in snapshots.contexts.items():
        _check_records(connection, contexts[name], since, horizons, findings)
    problems = () if tally.orders else (NOTHING,)
    promises = findings.promises
    return Report(
        ok=not problems and all(promise.ok for promise in promises),
        orders=tally.orders - tally.left_alone,
        left_alone=tally.left_alone,
        problems=problems,
        promises=promises,
        totals=tally.totals,
        dead_letters=tally.dead_letters,
        letters=tuple(tally.letters),
        dropped=horizons.periods(),
    )


def _check_cases(snapshots: Snapshots, since: datetime | None, horizons: Horizons, findings: Findings) -> Tally:
    young = young_keys(snapshots, since) if since else set()
    tally = Tally()
    for case in Gathering(snapshots, since):
        tally.add(case)
        if case.key in young:
            tally.left_alone += case.is_there
        elif case.is_order:
            _check_order(case, not_checkable(case, horizons), findings)
        else:
            findings.looked("task-settled")
            findings.add("task-settled", work.settled(case), case.key, is_order=False)
    return tally


def _check_order(case: Case, lacking: Collection[str], findings: Findings) -> None:
    findings.looked("state-readable")
    findings.add("state-readable", case.faults, case.key)
    if case.is_readable:
        for promise, check in CASE_CHECKS.items():
            if promise in lacking:
                findings.lacked(promise)
                continue
            findings.looked(promise)
            findings.add(promise, check(case), case.key)


def _check_stock(snapshots: Snapshots, since: datetime | None, held: goods.Held, findings: Findings) -> None:
    current = {row[0]: goods.Shown(*row[1:]) for row in _CATALOGUE.rows(snapshots.contexts["order"])}
    known: set[str] = set()
    for product_id, row in stored(snapshots.contexts["inventory"], STOCK):
        known.add(product_id)
        findings.looked("state-readable")
        findings.add("state-readable", [row.fault] if row.fault else [], product_id, is_order=False)
        if row.state is not None:
            checks = {
                "stock-adds-up": goods.adds_up(row.state),
                "stock-held": goods.is_held(product_id, row.state, held),
                "catalogue-current": goods.is_current(row.state, current, since),
            }
            for promise, found in checks.items():
                findings.looked(promise)
                findings.add(promise, found, product_id, is_order=False)
    for product_id in sorted((held.reserved.keys() | held.consumed.keys()) - known):
        findings.add("stock-held", goods.is_held(product_id, None, held), product_id, is_order=False)


def _check_windows(connection: Connection, recount: counting.Recount, findings: Findings) -> None:
    for start, row in stored(connection, WINDOWS):
        findings.looked("state-readable")
        findings.add("state-readable", [row.fault] if row.fault else [], start, is_order=False)
    shown = {row["start"]: row for row in _WINDOWS.mappings(connection)}
    for start in sorted(shown.keys() | recount.windows.keys()):
        findings.looked("windows-add-up")
        found = counting.adds_up(shown.get(start), recount.windows.get(start))
        findings.add("windows-add-up", found, start, is_order=False)


def _check_records(
    connection: Connection, context: Context[Any], since: datetime | None, horizons: Horizons, findings: Findings
) -> None:
    name = context.name
    findings.looked("letter-settled", letters.number(connection))
    for fault in letters.faults(connection, name, since, horizons):
        findings.add("letter-settled", [fault.detail], fault.about, is_order=fault.is_order)
    findings.looked("offset-recorded", messages.partitions(connection, name))
    for partition, detail in messages.behind(connection, name):
        findings.add("offset-recorded", [detail], partition, is_order=False)
    findings.looked("outcome-recorded", work.tasks_done(connection))
    for fault in work.outcome_faults(connection, name, horizons):
        if fault.lacks:
            findings.lacked("outcome-recorded")
        else:
            findings.add("outcome-recorded", [fault.detail], fault.about, is_order=fault.is_order)
    for key, event_type, difference in replay.replayed(connection, context):
        findings.looked("decision-replays")
        is_order = messages.is_about_order(event_type)
        findings.add("decision-replays", [difference] if difference else [], key, is_order=is_order)
