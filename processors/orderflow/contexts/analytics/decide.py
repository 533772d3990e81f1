"""What analytics does with each message. Nothing here is ever asked when something has to be decided elsewhere.

Each fact is counted once, in the window of its own time, so the figures do not depend on the order in which the topics
are read. Only the time to complete needs the creation first, and both are on one topic.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from orderflow.contexts.analytics.facts import FACTS, amount_of, attributes_of, figures_of
from orderflow.contexts.analytics.state import (
    GRACE_SECONDS,
    WINDOW_SECONDS,
    Journey,
    Window,
    window_of,
    window_task_of,
)
from orderflow.contracts.decision import Append, Decision, Refused, Timer
from orderflow.contracts.envelope import Message, Metadata, caused_by
from orderflow.contracts.events import (
    AnalyticsProcessed,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
)
from orderflow.contracts.identity import derive
from orderflow.contracts.outcomes import WindowDue

SOURCE = "analytics"


def windows_needed(_journey: Journey | None, message: Message) -> tuple[str, ...]:
    """Return the window that deciding ``message`` changes."""
    return (message.window_start if isinstance(message, WindowDue) else window_of(message.occurred_at),)


def decide(journey: Journey | None, windows: Mapping[str, Window], message: Message) -> Decision[Journey]:
    """Decide one event, or report one window.

    Raises:
        Refused: an event names no order.
    """
    if isinstance(message, WindowDue):
        return _report(windows.get(message.window_start), message)
    if type(message) not in FACTS:
        return Decision(state=journey, outcome="ignored")
    if not message.order_id:
        raise Refused("orderId", "a business event belongs to an order")
    known = journey or Journey(order_id=message.order_id)
    if message.event_type in known.counted:
        return Decision(state=known, outcome="repeated")
    return _count(known, windows.get(window_of(message.occurred_at)), message)


def _count(known: Journey, before: Window | None, event: Message) -> Decision[Journey]:
    window = _opened(before, window_of(event.occurred_at))
    after = replace(window, figures=window.figures + figures_of(event, known.created_at))
    return Decision(
        state=_told(known, event),
        outcome="applied",
        tasks=() if window is before else (_timer(window),),
        writes=(_kept(event),),
        shared={after.start: after},
    )


def _opened(window: Window | None, start: str) -> Window:
    """Return the window itself if it is open, a new one if there is none, or its next revision."""
    if window is None:
        return Window(start=start)
    return replace(window, closed=False, revision=window.revision + 1) if window.closed else window


def _timer(window: Window) -> Timer:
    """Report the window when its minute and the grace have passed; once reported, when the grace has."""
    task_id = window_task_of(window.start, window.revision)
    return Timer(
        task_id=task_id,
        after=float(GRACE_SECONDS if window.revision else WINDOW_SECONDS + GRACE_SECONDS),
        message=WindowDue(
            event_id=derive(task_id, "due"),
            metadata=Metadata(source=SOURCE, correlation_id=window.start),
            window_start=window.start,
            window_seconds=WINDOW_SECONDS,
            due_at=window.due_at,
        ),
    )


def _report(window: Window | None, due: WindowDue) -> Decision[Journey]:
    if window is None:
        return Decision(state=None, outcome="ignored")
    if window.closed:
        return Decision(state=None, outcome="repeated")
    report = AnalyticsProcessed(
        event_id=derive(due.event_id, "AnalyticsProcessed"),
        metadata=caused_by(due, SOURCE),
        window_start=window.start,
        window_seconds=WINDOW_SECONDS,
        metrics=window.figures.metrics(),
        processed_at=due.occurred_at,
    )
    closed = replace(window, closed=True)
    return Decision(state=None, outcome="applied", messages=(report,), shared={closed.start: closed})


def _told(known: Journey, event: Message) -> Journey:
    told = replace(known, counted=tuple(sorted((*known.counted, event.event_type))))
    match event:
        case OrderCreated():
            return replace(told, created_at=event.occurred_at, flow=event.flow)
        case OrderCompleted():
            return replace(told, ended="completed")
        case OrderCancelled():
            return replace(told, ended="cancelled")
    return told


def _kept(event: Message) -> Append:
    return Append(
        table="business_events",
        values={
            "event_id": event.event_id,
            "event_type": event.event_type,
            "order_id": event.order_id,
            "at": event.occurred_at,
            "amount": amount_of(event),
            "attributes": attributes_of(event),
        },
    )
