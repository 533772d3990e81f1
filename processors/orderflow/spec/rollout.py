"""How a processor is changed: strategies, gates and scaling, field by field.

Names are those that users of Argo Rollouts (``steps``, ``setWeight``, ``failureLimit``), Flagger (``thresholdRange``),
Kubernetes (``stabilizationWindowSeconds``) and KEDA (``lagThreshold``) know, and mean the same wherever they can.
``orderflow up`` changes a system by starting it anew and reads nothing of this.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

from orderflow.spec.section import Section

Duration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,6}(ms|s|m|h))+$", max_length=40)]
"""A time as Kubernetes' tools write it: ``90s``, ``1h30m``. :func:`seconds_of` has it in seconds."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Window = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
"""Seconds, up to a day."""

_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """Return a :data:`Duration` in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


class Pause(Section, frozen=True, kw_only=True):
    """Wait. Without ``duration``: until somebody says ``resume`` or ``promote``."""

    duration: Duration | None = None


class Analysis(Section, frozen=True, kw_only=True):
    """Wait until every gate, or those that ``gates`` names, has passed its ``count`` of measurements since then."""

    gates: tuple[str, ...] = ()


class Step(Section, frozen=True, kw_only=True):
    """One step of a canary: exactly one of its fields.

    ``set_weight`` is a share of the partitions in per cent, rounded to whole partitions and never to none;
    ``set_partitions`` is their number.
    """

    set_weight: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    set_partitions: Positive | None = None
    pause: Pause | None = None
    analysis: Analysis | None = None


DEFAULT_STEPS: Final = (
    Step(set_weight=25),
    Step(analysis=Analysis()),
    Step(set_weight=50),
    Step(analysis=Analysis()),
)
"""Half of the partitions are the most that a change can hurt before every gate has passed twice."""


class Canary(Section, frozen=True, kw_only=True):
    """The new revision takes over partition by partition, and after the last step all of them.

    ``max_surge`` is how many pods there may be beyond those that the revision's ``replicas`` ask for. While both
    revisions have partitions each has at least one pod.
    """

    steps: tuple[Step, ...] = DEFAULT_STEPS
    max_surge: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1


class BlueGreen(Section, frozen=True, kw_only=True):
    """The new revision takes over at once, when all of its pods have checked themselves.

    The old one leaves the group and is kept running for ``scale_down_delay_seconds`` after every gate has passed.
    """

    scale_down_delay_seconds: Window = 600


class Strategy(Section, frozen=True, kw_only=True):
    """Exactly one of them."""

    canary: Canary | None = None
    blue_green: BlueGreen | None = None


class Difference(Section, frozen=True, kw_only=True):
    """Decisions on messages of type ``event`` may differ from the recorded ones, in ``parts`` alone if it names any."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    parts: tuple[str, ...] = ()


class Shadow(Section, frozen=True, kw_only=True):
    """What comes before every strategy: the new revision decides recorded decisions again.

    ``sample_size`` is how many of the newest at the most; ``differences`` are those that are meant.
    """

    sample_size: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 1000
    differences: tuple[Difference, ...] = ()


class ThresholdRange(Section, frozen=True, kw_only=True):
    """The values that are good, bounds included."""

    min: float | None = None
    max: float | None = None


class AgainstStable(Section, frozen=True, kw_only=True):
    """How much worse than stable's the canary's value may be.

    It is too high when it is above ``max_ratio`` times stable's and also above stable's plus ``max_difference``: the
    one bounds large values, the other leaves small ones their noise.
    """

    max_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.5
    max_difference: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Prometheus(Section, frozen=True, kw_only=True):
    """A query of a Prometheus server.

    In ``query``, ``{{ selector }}`` becomes label matchers that select the pods of one revision, ``{{ interval }}`` the
    gate's interval. It is asked for the canary and, where the gate compares, for stable.
    """

    address: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+$", max_length=500)]
    query: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


BUILT_IN_GATES: Final = (
    "error-rate",
    "processing-seconds-p95",
    "lag-growth",
    "dead-letters",
    "readiness",
)
"""Gates that need no query: every rollout has them, with these names, and an entry of ``gates`` changes one."""


class Gate(Section, frozen=True, kw_only=True):
    """A metric that decides whether a rollout goes on.

    Attributes:
        name: one of :data:`BUILT_IN_GATES`, whose fields are changed by those given here; or another, with
            ``prometheus``.
        interval: between two measurements.
        initial_delay: from the moment on that the canary has partitions.
        count: so many good measurements make an analysis pass.
        failure_limit: so many bad measurements are borne within a step; one more and the rollout goes back.
        inconclusive_limit: so many measurements in a row without data are borne; one more and the rollout holds until
            there is data.
        min_samples: a measurement over fewer messages says nothing.
        dry_run: measured and shown, never acted on.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    prometheus: Prometheus | None = None
    threshold_range: ThresholdRange | None = None
    against_stable: AgainstStable | None = None
    interval: Duration | None = None
    initial_delay: Duration | None = None
    count: Positive | None = None
    failure_limit: Whole | None = None
    inconclusive_limit: Whole | None = None
    min_samples: Whole | None = None
    dry_run: bool = False


class Stabilization(Section, frozen=True, kw_only=True):
    """For so long the recommendations are looked back at; the most careful one is followed."""

    stabilization_window_seconds: Window


class Autoscaling(Section, frozen=True, kw_only=True):
    """Replicas by lag; ``replicas`` is then only where it begins.

    Attributes:
        max_replicas: by default, and at the most, the partitions.
        lag_threshold: messages of lag that one replica is to have at the most.
        activation_lag_threshold: at or below it the lag counts as none, and ``min_replicas`` suffice.
        emergency_lag: from this lag on a rollout holds and stable may be scaled in the middle of it.
        dry_run: recommended and shown, never acted on.
    """

    min_replicas: Positive = 1
    max_replicas: Positive | None = None
    lag_threshold: Positive = 500
    activation_lag_threshold: Whole = 0
    emergency_lag: Positive | None = None
    scale_up: Stabilization = Stabilization(stabilization_window_seconds=15)
    scale_down: Stabilization = Stabilization(stabilization_window_seconds=300)
    dry_run: bool = False


Context = Literal["order", "payment", "inventory", "fulfillment", "notification", "analytics"]
