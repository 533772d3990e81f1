"""What is counted. Figures add up: in any order, and of any number of windows."""

from bisect import bisect_left
from decimal import Decimal
from fractions import Fraction
from math import ceil

import msgspec

from orderflow.contracts.money import ZERO

BOUNDS_MS = (
    *(50, 75, 100, 125, 150, 175, 200, 250, 300, 400, 500, 750),
    *(1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 6_000, 7_500),
    *(10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000),
)
"""Upper bounds of the buckets of durations: close together around 150 ms (a flow without a carrier) and around
1 to 6 s (one with a carrier that takes 1 to 5 s). A last bucket has what lasted longer."""

MILLISECOND = Decimal("0.001")


class Durations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many durations. Whole milliseconds, because sums of floats depend on their order."""

    count: int = 0
    total_ms: int = 0
    max_ms: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)

    def __add__(self, other: "Durations") -> "Durations":
        return Durations(
            count=self.count + other.count,
            total_ms=self.total_ms + other.total_ms,
            max_ms=max(self.max_ms, other.max_ms),
            buckets=tuple(mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)),
        )

    @property
    def mean(self) -> Decimal | None:
        """The mean in seconds; ``None`` of nothing."""
        return _seconds(Fraction(self.total_ms, self.count)) if self.count else None

    @property
    def longest(self) -> Decimal | None:
        """The maximum in seconds; ``None`` of nothing."""
        return _seconds(Fraction(self.max_ms)) if self.count else None

    def percentile(self, share: Fraction) -> Decimal | None:
        """Return how many seconds the quickest ``share`` lasted at the most, to the bucket; ``None`` of nothing."""
        counted = sum(self.buckets)
        if not counted:
            return None
        wanted, reached = ceil(share * counted), 0
        for bound, count in zip(BOUNDS_MS, self.buckets, strict=False):
            reached += count
            if reached >= wanted:
                return _seconds(Fraction(min(bound, self.max_ms)))
        return self.longest

    @property
    def p95(self) -> Decimal | None:
        """What 95 of 100 did not exceed, in seconds."""
        return self.percentile(Fraction(95, 100))


def duration(milliseconds: int) -> Durations:
    """Return the figures of one duration. One below zero (clocks differ) counts as zero."""
    lasted = max(0, milliseconds)
    bucket = bisect_left(BOUNDS_MS, lasted)
    return Durations(
        count=1,
        total_ms=lasted,
        max_ms=lasted,
        buckets=tuple(int(index == bucket) for index in range(len(BOUNDS_MS) + 1)),
    )


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened: so many of each fact, and the money and the time that went with them.

    ``revenue`` is what was captured, ``refunded`` what was given back of it; ``completion`` is the time from an order's
    creation to its completion.
    """

    orders: int = 0
    completed: int = 0
    cancelled: int = 0
    payments: int = 0
    payment_failures: int = 0
    refunds: int = 0
    reservations: int = 0
    inventory_failures: int = 0
    shipments: int = 0
    shipment_failures: int = 0
    revenue: Decimal = ZERO
    refunded: Decimal = ZERO
    completion: Durations = Durations()

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    @property
    def failures(self) -> int:
        """Steps that failed."""
        return self.payment_failures + self.inventory_failures + self.shipment_failures

    @property
    def completion_rate(self) -> Decimal | None:
        """The share of completed orders among those that ended, 0 to 1; ``None`` where none has ended."""
        ended = self.completed + self.cancelled
        return (Decimal(self.completed) / ended).quantize(MILLISECOND) if ended else None

    def metrics(self) -> dict[str, Decimal]:
        """Return the figures as AnalyticsProcessed names them; what cannot be said of nothing is left out."""
        values: dict[str, Decimal | int | None] = {
            "orders": self.orders,
            "completed": self.completed,
            "cancelled": self.cancelled,
            "completionRate": self.completion_rate,
            "payments": self.payments,
            "paymentFailures": self.payment_failures,
            "refunds": self.refunds,
            "reservations": self.reservations,
            "inventoryFailures": self.inventory_failures,
            "shipments": self.shipments,
            "shipmentFailures": self.shipment_failures,
            "failures": self.failures,
            "revenue": self.revenue,
            "refunded": self.refunded,
            "completionSecondsMean": self.completion.mean,
            "completionSecondsP95": self.completion.p95,
            "completionSecondsMax": self.completion.longest,
        }
        return {name: Decimal(value) for name, value in values.items() if value is not None}


COUNTS = tuple(field.name for field in msgspec.structs.fields(Figures) if field.type is int)
"""The names of the figures that are plain counts."""


def _seconds(milliseconds: Fraction) -> Decimal:
    return (Decimal(round(milliseconds)) / 1000).quantize(MILLISECOND)
