"""A report as lines for a terminal."""

from collections.abc import Iterator

from orderflow.verification.report import PROMISES, PromiseReport, Report, Violation

_AS_FAR = ", as far as what was recorded is still there"
_WIDEST = max(len(name) for name in PROMISES)


def render(report: Report) -> str:
    """Return the report as text: what there is to say about each promise, then the verdict."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    for promise in report.promises:
        yield from _promise(promise)
    if report.promises:
        yield ""
        yield from _totals(report)
    yield from _letters(report)
    yield from _dropped(report)
    yield from report.problems
    yield _verdict(report)


def _promise(promise: PromiseReport) -> Iterator[str]:
    mark = "ok  " if promise.ok else "FAIL"
    yield f"{mark}  {promise.name:<{_WIDEST}}  {promise.checked:>9,}  {promise.promise}"
    if promise.dropped:
        yield f"        {promise.dropped:,} not checked: what shows it was dropped after its time"
    yield from (f"        {_violation(violation)}" for violation in promise.violations)
    hidden = promise.violated - len(promise.violations)
    if hidden:
        yield f"        and {hidden:,} more"


def _violation(violation: Violation) -> str:
    about = f"order {violation.order_id}" if violation.order_id else violation.subject
    return f"{about}: {violation.detail}"


def _totals(report: Report) -> Iterator[str]:
    totals = report.totals
    yield f"captured {totals.captured:,} = kept {totals.kept:,} + refunded {totals.refunded:,}"
    yield f"{totals.completed:,} completed, {totals.cancelled:,} cancelled or failed, {totals.live:,} under way"


def _letters(report: Report) -> Iterator[str]:
    if not report.dead_letters:
        return
    yield f"{report.dead_letters:,} dead letters are open: their orders may have stopped, and are not lost"
    for letter in report.letters:
        about = f"order {letter.order_id}" if letter.order_id else "no order"
        yield f"        {about}: {letter.context} could not decide {letter.event_type or 'a message'} ({letter.cause})"


def _dropped(report: Report) -> Iterator[str]:
    for period in report.dropped:
        until = f"{period.until:%Y-%m-%d %H:%M} UTC"
        yield f"{period.context} has dropped {period.rows:,} rows of {period.table} from before {until}"


def _verdict(report: Report) -> str:
    young = f", {report.left_alone:,} younger ones left alone" if report.left_alone else ""
    if report.ok:
        lacked = any(promise.dropped for promise in report.promises)
        return f"{report.orders:,} orders verified{young}: every promise is kept{_AS_FAR if lacked else ''}"
    broken = sum(not promise.ok for promise in report.promises)
    if not broken:
        return "nothing is proven"
    return f"{report.orders:,} orders verified{young}: {broken} of {len(report.promises)} promises are broken"
