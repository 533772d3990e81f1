"""How notification is kept, and what it shows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, create_engine, func, select

from orderflow.contexts.notification import NOTIFICATION, Correspondence
from orderflow.contexts.notification.reads import ROUTES
from orderflow.contexts.notification.state import delivery_task_of, notification_id_of
from orderflow.contexts.notification.tables import CORRESPONDENCE, delivery_attempts, metadata, notification_log
from orderflow.contracts.commands import SendNotification
from orderflow.contracts.decision import Append, Refused
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import OrderShipped
from orderflow.contracts.items import Channel, Recipient
from orderflow.contracts.outcomes import DeliveryAnswered
from orderflow.runtime.rows import Versioned

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ORDER = "order-1"
COMPLETED = notification_id_of(ORDER, "order-completed")
SHIPPED_EVENT = OrderShipped(
    event_id="a", order_id=ORDER, shipment_id="s", carrier="Swift", tracking_number="T-1", shipped_at=NOON
)
COMMAND = SendNotification(
    event_id="b",
    order_id=ORDER,
    notification_id=COMPLETED,
    template="order-completed",
    parameters={},
    recipient=Recipient(customer_id="customer-1", email="ada@example.com"),
    channels=(Channel(channel="email"), Channel(channel="sms")),
    requested_at=NOON + timedelta(seconds=1),
)
ANSWER = DeliveryAnswered(
    event_id="c",
    order_id=ORDER,
    task_id=delivery_task_of(COMPLETED, "email"),
    notification_id=COMPLETED,
    channel="email",
    status="delivered",
    answered_at=NOON + timedelta(seconds=2),
    reference="msg-1",
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def record(connection: Connection, *messages: Message) -> Correspondence:
    """Decide the messages and write what they leave behind, as the unit of work does."""
    state: Correspondence | None = None
    for version, message in enumerate(messages, start=1):
        decision = NOTIFICATION.decide(state, {}, message)
        state = decision.state
        assert state is not None
        write = CORRESPONDENCE.insert if version == 1 else CORRESPONDENCE.update
        write(connection, {ORDER: Versioned(version, state)})
        for row in decision.writes:
            assert isinstance(row, Append)
            connection.execute(metadata.tables[row.table].insert(), row.values)
    assert state is not None
    return state


def test_a_state_comes_back_as_it_was_written(connection: Connection) -> None:
    state = record(connection, SHIPPED_EVENT, COMMAND, ANSWER)
    assert CORRESPONDENCE.load(connection, [ORDER], lock=True) == {ORDER: Versioned(3, state)}


def test_what_was_started_and_what_was_answered_is_logged(connection: Connection) -> None:
    record(connection, SHIPPED_EVENT, COMMAND, ANSWER)
    assert connection.scalar(select(func.count()).select_from(notification_log)) == 1
    assert connection.scalar(select(func.count()).select_from(delivery_attempts)) == 1


def test_an_orders_notifications_are_shown_with_their_channels(connection: Connection) -> None:
    record(connection, SHIPPED_EVENT, COMMAND, ANSWER)
    view = ROUTES["/notifications"](connection, {"orderId": ORDER})
    assert msgspec.json.decode(msgspec.json.encode(view)) == {
        "notifications": [
            {
                "notificationId": notification_id_of(ORDER, "order-shipped"),
                "orderId": ORDER,
                "template": "order-shipped",
                "status": "announced",
                "channels": [],
                "createdAt": "2025-03-01T12:00:00Z",
                "updatedAt": "2025-03-01T12:00:00Z",
            },
            {
                "notificationId": COMPLETED,
                "orderId": ORDER,
                "template": "order-completed",
                "status": "delivered",
                "channels": [
                    {"channel": "email", "status": "delivered", "reference": "msg-1", "errorMessage": None},
                    {
                        "channel": "sms",
                        "status": "skipped",
                        "reference": None,
                        "errorMessage": "the recipient has no address on this channel",
                    },
                ],
                "createdAt": "2025-03-01T12:00:01Z",
                "updatedAt": "2025-03-01T12:00:02Z",
            },
        ]
    }


def test_an_unknown_order_has_no_notifications(connection: Connection) -> None:
    view = ROUTES["/notifications"](connection, {"orderId": "nobody's"})
    assert msgspec.to_builtins(view) == {"notifications": ()}


def test_whose_notifications_has_to_be_said(connection: Connection) -> None:
    with pytest.raises(Refused, match="orderId"):
        ROUTES["/notifications"](connection, {})
