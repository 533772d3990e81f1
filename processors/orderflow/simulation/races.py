"""The races that the runs must really reach, each by name: "sometimes" assertions.

A rule that no run puts to the test is unproven, however many runs there are.
"""

from collections.abc import Iterator
from typing import Final

from orderflow.simulation.world import World

_EXPIRING_WHILE_PAYING: Final = """
    SELECT 1 FROM decisions WHERE CAST(message AS TEXT) LIKE '{"eventType":"ReservationExpiring"%'
    AND CAST(state AS TEXT) LIKE '%"step":"payment","status":"asked"%'
"""

FROM_THE_RECORD: Final = {
    "late payment after cancel": (
        "order",
        "SELECT 1 FROM audit_trail WHERE event_type = 'PaymentSucceeded' AND before IN ('COMPENSATING', 'CANCELLED')",
    ),
    "reservation expiring while the payment is open": (
        "order",
        _EXPIRING_WHILE_PAYING,
    ),
    "reservation expired and kept": (
        "inventory",
        "SELECT 1 FROM audit_trail WHERE event_type = 'ConfirmReservation'",
    ),
    "compensation before request (payment)": (
        "payment",
        "SELECT 1 FROM audit_trail WHERE before = '' AND after = 'refused'",
    ),
    "compensation before request (inventory)": (
        "inventory",
        "SELECT 1 FROM audit_trail WHERE before = '' AND after = 'refused'",
    ),
    "compensation before request (fulfillment)": (
        "fulfillment",
        "SELECT 1 FROM audit_trail WHERE before = '' AND after = 'cancelled'",
    ),
    "request after its compensation refused": (
        "fulfillment",
        "SELECT 1 FROM processed_events WHERE event_type = 'OrderFulfillmentRequested' AND status = 'late'",
    ),
    "refund waiting for its charge": (
        "payment",
        "SELECT 1 FROM audit_trail WHERE detail LIKE 'the refund waits%'",
    ),
    "parked message superseded by a compensation": (
        "*",
        "SELECT 1 FROM processed_events WHERE status = 'superseded'",
    ),
    "deadline held back by a backlog": (
        "order",
        "SELECT 1 FROM tasks WHERE horizon IS NOT NULL",
    ),
    "step given up with its outcome unknown": (
        "order",
        "SELECT 1 FROM audit_trail WHERE event_type = 'StepDeadline' AND after = 'COMPENSATING' AND before <> after",
    ),
    "shipped although it was being cancelled": (
        "order",
        "SELECT 1 FROM audit_trail WHERE event_type = 'OrderShipped' AND before = 'COMPENSATING'",
    ),
    "short of stock": (
        "inventory",
        "SELECT 1 FROM audit_trail WHERE after = 'failed'",
    ),
    "order cancelled by its customer": (
        "order",
        "SELECT 1 FROM audit_trail WHERE event_type = 'ChangeOrderStatus' AND after = 'COMPENSATING'",
    ),
    "payment declined": ("payment", "SELECT 1 FROM audit_trail WHERE after = 'failed'"),
    "window reported again": ("analytics", "SELECT 1 FROM windows WHERE data LIKE '%\"revision\":%'"),
}
"""By name: in which context's record it shows (``*``: in any), and by which row."""

SEEN: Final = (
    "zombie fenced",
    "rebalance in the middle of a batch",
    "partition taken over carefully after an unclean stop",
    "lost publication relayed",
    "crash between commit and publication",
    "duplicate delivered",
    "message dead-lettered",
    "message parked behind a dead letter",
    "message too late to change anything",
    "removed revision refused",
    "unclear call asked after: it had happened",
    "unclear call asked after: it had not",
    "stale cache noticed",
    "gap noticed and read again",
    "idempotency key answered again",
    "commit whose outcome nobody heard",
)
"""Those that are noted while they happen."""

RACES: Final = (*SEEN, *FROM_THE_RECORD)


def reached_in(world: World) -> Iterator[str]:
    """Yield the races that the run has reached."""
    yield from world.story.reached
    for race, (context, query) in FROM_THE_RECORD.items():
        for name in world.contexts if context == "*" else (context,):
            if world.store.peek(name, f"{query} LIMIT 1"):
                yield race
                break
