"""What inventory knows: what each order holds, and what there is of each product."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from orderflow.contracts.identity import derive
from orderflow.contracts.items import Item, ShortItem

Status = Literal["reserved", "failed", "released", "consumed", "refused"]
"""Only ``reserved`` can still change. ``refused`` is the tombstone of a release that came before its request: the
request, should it still come, is not carried out."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one order holds, or held.

    ``items`` name each product once. ``review`` counts the reviews set for it; only the newest one's timer means
    anything. ``failed_items`` are what there was too little of.
    """

    order_id: str
    status: Status
    requested_at: datetime
    request_id: str = ""
    items: tuple[Item, ...] = ()
    expires_at: datetime | None = None
    review: int = 0
    failed_items: tuple[ShortItem, ...] = ()
    released_at: datetime | None = None
    consumed_at: datetime | None = None

    @property
    def reservation_id(self) -> str:
        """The reservation's name."""
        return reservation_id_of(self.order_id)


class StockLevel(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one product, in pieces: ``available + reserved + consumed = initial + restocked``.

    ``version`` counts the changes, from 1; readers of ProductChanged keep the newest.
    """

    product_id: str
    name: str
    price: Decimal
    available: int
    reserved: int
    consumed: int
    initial: int
    restocked: int
    version: int
    changed_at: datetime


def reservation_id_of(order_id: str) -> str:
    """Return the name of the order's only reservation."""
    return derive(order_id, "reservation")


def review_task_of(reservation_id: str, review: int) -> str:
    """Return the id of the timer that brings the reservation's n-th review."""
    return derive(reservation_id, "review task", str(review))


def is_live(reservation: Reservation) -> bool:
    """Whether the order still holds stock that it has neither consumed nor given back."""
    return reservation.status == "reserved"
