"""A run as text: what was planned, what struck, and who did what when."""

from collections.abc import Iterator

from orderflow.simulation.playing import Outcome, Schedule


def render(outcome: Outcome) -> str:
    """Return the run's schedule and trace, and what it broke."""
    return "\n".join((*_schedule(outcome.schedule), "", *_trace(outcome), "", *_verdict(outcome)))


def _schedule(schedule: Schedule) -> Iterator[str]:
    plan = schedule.plan
    several = ", ".join(f"{number} of {name}" for name, number in plan.workers.items() if number > 1)
    yield f"seed {plan.seed}: {plan.partitions} partitions, one worker each{f' but {several}' if several else ''}"
    if plan.split:
        yield "  partitions are dealt out one by one: an order's topics go to different workers"
    yield f"  stock is held for {plan.reservation_seconds:g} s"
    for order in plan.orders:
        pieces = " and ".join(f"{quantity} {product}" for product, quantity in order.pieces)
        times = f", asked {order.times} times" if order.times > 1 else ""
        yield f"  {order.at:7.3f} {order.name}: {pieces}, {order.flow}{times}"
    for change in plan.changes:
        yield f"  {change.at:7.3f} {change.name}: set to {change.status}"
    for each in plan.befalling:
        extent = f" for {each.seconds:g} s" if each.seconds else f" by {each.size:g}" if each.size else ""
        yield f"  {each.at:7.3f} {each.what} {each.whom}{extent}"
    for key, fault in schedule.faults.items():
        yield f"  {key}: {fault}"


def _trace(outcome: Outcome) -> Iterator[str]:
    width = max((len(line.who) for line in outcome.trace), default=0)
    for line in outcome.trace:
        yield f"{line.at:9.3f}  {line.who:{width}}  {line.what}"


def _verdict(outcome: Outcome) -> Iterator[str]:
    if outcome.ok:
        yield "every promise is kept"
    for breach in outcome.breaches:
        yield f"BROKEN  {breach}"
