"""What happens in one run besides chance: who orders what, and what befalls whom when. It follows from the seed."""

from random import Random
from typing import Literal

import msgspec

from orderflow.spec.products import Product
from orderflow.spec.resource import CONTEXTS

HORIZON = 40.0
"""Virtual seconds until the faults stop: a handful of deadlines, leases and sessions."""

ENDING = {
    "order-to-delivery": ("Cancelled",),
    "payment-first": ("Cancelled",),
    "reserve-first": ("CANCELLED",),
    "ship-only": ("Failed", "Shipped", "Processing"),
}
"""Statuses that somebody outside may set, by flow."""

FAULT_RATES: dict[str, dict[str, float]] = {
    "commit": {"crash-before": 0.01, "crash-after": 0.015, "lost": 0.01, "unclear": 0.01},
    "publish": {
        "refused": 0.04,
        "unacknowledged": 0.04,
        "late": 0.03,
        "partly": 0.02,
        "twice": 0.04,
        "crash-before": 0.02,
        "crash-after": 0.02,
    },
    "mangle": {"mangled": 0.2},
    "sql": {"slow": 0.01, "slow-amid-rebalance": 0.015},
    "ask": {"silent": 0.2},
    "fetch": {"again": 0.08, "gap": 0.05},
    "fetch-late": {"late": 0.05},
    "acknowledge": {"crash": 0.01},
    "call charge": {
        "declined": 0.15,
        "unavailable": 0.1,
        "lost-before": 0.1,
        "lost-after": 0.15,
        "late": 0.15,
        "late-answer": 0.15,
        "crash": 0.1,
    },
    "call refund": {
        "unavailable": 0.1,
        "lost-before": 0.1,
        "lost-after": 0.15,
        "late": 0.1,
        "late-answer": 0.1,
        "crash": 0.1,
    },
    "call book": {
        "declined": 0.15,
        "unavailable": 0.1,
        "lost-before": 0.1,
        "lost-after": 0.15,
        "late": 0.15,
        "late-answer": 0.15,
        "crash": 0.1,
    },
    "call cancel": {"unavailable": 0.1, "lost-before": 0.1, "lost-after": 0.15, "late": 0.1, "crash": 0.1},
    "call deliver": {"declined": 0.1, "unavailable": 0.1, "lost-before": 0.1, "lost-after": 0.1, "crash": 0.05},
    "query charge": {"unavailable": 0.3},
    "query book": {"unavailable": 0.3},
}
"""How likely each fault is where it can strike, in a run that has faults of that kind."""

What = Literal["crash", "pause", "workers", "stir", "clock", "broker", "cut", "provider", "lazy", "revision"]


class Ordering(msgspec.Struct, frozen=True, kw_only=True):
    """A client who orders at ``at`` seconds, and asks ``times`` times under one key whatever the answer."""

    at: float
    name: str
    flow: str
    pieces: tuple[tuple[str, int], ...]
    times: int = 1
    known: bool = True


class Changing(msgspec.Struct, frozen=True, kw_only=True):
    """A client who sets the status of the order ``name`` at ``at`` seconds."""

    at: float
    name: str
    status: str


class Befalling(msgspec.Struct, frozen=True, kw_only=True):
    """Something that befalls ``whom`` (a process, a context, a provider) at ``at``, for ``seconds`` or by ``size``."""

    at: float
    what: What
    whom: str = ""
    seconds: float = 0.0
    size: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        partitions: of every topic.
        workers: how many each context begins with.
        split: whether partitions are dealt out one by one, so that an order's topics go to different workers.
        reservation_seconds: how long stock is held before the order is asked.
        faults: how likely which fault is, by point.
    """

    seed: int
    partitions: int
    workers: dict[str, int]
    split: bool
    reservation_seconds: float
    products: tuple[Product, ...]
    orders: tuple[Ordering, ...]
    changes: tuple[Changing, ...]
    befalling: tuple[Befalling, ...]
    faults: dict[str, dict[str, float]]


def quiet_plan(seed: int) -> Plan:
    """Return the plan of a run without any fault: one order through all six contexts."""
    return Plan(
        seed=seed,
        partitions=1,
        workers=dict.fromkeys(CONTEXTS, 1),
        split=False,
        reservation_seconds=900.0,
        products=(Product(id="lamp", name="Lamp", price="10.00", stock=5),),  # type: ignore[arg-type]
        orders=(Ordering(at=1.0, name="order-1", flow="order-to-delivery", pieces=(("lamp", 2),)),),
        changes=(),
        befalling=(),
        faults={},
    )


def plan_of(seed: int) -> Plan:
    """Return the plan of the run with this seed."""
    random = Random(f"plan {seed}")
    orders = tuple(_ordering(random, number) for number in range(1, random.choice((1, 1, 1, 2)) + 1))
    several = random.choice(CONTEXTS) if random.random() < 0.7 else ""
    workers = {name: random.choice((2, 3)) if name == several else 1 for name in CONTEXTS}
    return Plan(
        seed=seed,
        partitions=random.choice((1, 2, 2)),
        workers=workers,
        split=random.random() < 0.5,
        reservation_seconds=random.choice((1.5, 4.0, 4.0, 20.0, 900.0)),
        products=tuple(
            Product(id=name, name=name.title(), price=price, stock=random.choice((2, 3, 6)))  # type: ignore[arg-type]
            for name, price in (("lamp", "10.00"), ("mug", "4.50"))
        ),
        orders=orders,
        changes=tuple(_changing(random, order) for order in orders if random.random() < 0.3),
        befalling=tuple(sorted(_befallings(random, workers), key=lambda each: each.at)),
        faults={point: rates for point, rates in FAULT_RATES.items() if random.random() < 0.3},
    )


def _ordering(random: Random, number: int) -> Ordering:
    products = random.choice((("lamp",), ("lamp",), ("mug",), ("lamp", "mug")))
    return Ordering(
        at=round(random.uniform(1.0, 8.0), 2),
        name=f"order-{number}",
        flow=random.choice(("order-to-delivery", "order-to-delivery", "payment-first", "reserve-first", "ship-only")),
        pieces=tuple((product, random.choice((1, 1, 2, 3))) for product in products),
        times=random.choice((1, 1, 1, 2, 3)),
        known=random.random() < 0.8,
    )


def _changing(random: Random, order: Ordering) -> Changing:
    at = order.at + random.choice((random.uniform(0.02, 0.3), random.uniform(0.0, 15.0)))
    return Changing(at=round(at, 3), name=order.name, status=random.choice(ENDING[order.flow]))


def _befallings(random: Random, workers: dict[str, int]) -> list[Befalling]:
    everybody = [f"{name}-{number}" for name in CONTEXTS for number in range(workers[name])] + ["order-api-0"]
    makers = (_crash, _pause, _workers, _stir, _clock, _broker, _cut, _provider, _lazy, _revision)
    chosen = random.choices(makers, k=random.choice((0, 1, 1, 2, 2, 3)))
    return [make(random, random.choice(everybody), round(random.uniform(1.0, 14.0), 2)) for make in chosen]


def _crash(_random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="crash", whom=whom)


def _pause(random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="pause", whom=whom, seconds=round(random.uniform(2.0, 18.0), 1))


def _workers(random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="workers", whom=whom.rsplit("-", 1)[0], size=random.choice((1, 2, 3)))


def _stir(_random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="stir", whom=whom.rsplit("-", 1)[0])


def _clock(random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="clock", whom=whom, size=random.choice((-5.0, -0.5, 2.0, 15.0, 90.0)))


def _broker(random: Random, _whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="broker", seconds=round(random.uniform(0.5, 12.0), 1))


def _cut(random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="cut", whom=whom, seconds=round(random.uniform(0.5, 12.0), 1))


def _provider(random: Random, _whom: str, at: float) -> Befalling:
    name = random.choice(("card", "carrier", "email"))
    return Befalling(at=at, what="provider", whom=name, seconds=round(random.uniform(1.0, 15.0), 1))


def _lazy(random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="lazy", whom=whom.rsplit("-", 1)[0], seconds=round(random.uniform(3.0, 20.0), 1))


def _revision(_random: Random, whom: str, at: float) -> Befalling:
    return Befalling(at=at, what="revision", whom=whom.rsplit("-", 1)[0])
