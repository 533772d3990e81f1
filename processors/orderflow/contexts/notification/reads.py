"""What notification shows of itself."""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from orderflow.contexts.notification.state import Notification
from orderflow.contexts.notification.tables import CORRESPONDENCE
from orderflow.contracts.decision import Refused


class ChannelView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far one channel has got; ``error_message`` says why it did not deliver."""

    channel: str
    status: str
    reference: str | None
    error_message: str | None


class NotificationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One notification, with its channels in the order in which they are tried."""

    notification_id: str
    order_id: str
    template: str
    status: str
    channels: tuple[ChannelView, ...]
    created_at: datetime
    updated_at: datetime


class CorrespondenceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order's notifications, the oldest first."""

    notifications: tuple[NotificationView, ...]


def notifications(connection: Connection, parameters: Mapping[str, str]) -> CorrespondenceView:
    """Return the notifications about ``orderId``; none where nothing is known of it.

    Raises:
        Refused: ``orderId`` is missing.
    """
    order_id = parameters.get("orderId", "")
    if not order_id:
        raise Refused("orderId", "say which order's notifications are wanted")
    row = CORRESPONDENCE.load(connection, [order_id], lock=False).get(order_id)
    known = row.state.notifications if row else {}
    views = (_view(order_id, notification_id, notification) for notification_id, notification in known.items())
    return CorrespondenceView(notifications=tuple(sorted(views, key=lambda view: view.created_at)))


def _view(order_id: str, notification_id: str, notification: Notification) -> NotificationView:
    return NotificationView(
        notification_id=notification_id,
        order_id=order_id,
        template=notification.template,
        status=notification.status,
        channels=tuple(
            ChannelView(
                channel=channel,
                status=delivery.status,
                reference=delivery.reference,
                error_message=delivery.error,
            )
            for channel, delivery in notification.channels.items()
        ),
        created_at=notification.created_at,
        updated_at=notification.updated_at,
    )


ROUTES: Mapping[str, Callable[[Connection, Mapping[str, str]], msgspec.Struct | None]] = {
    "/notifications": notifications,
}
