"""What the operator says of a resource: its status, field by field, for people, for ``kubectl wait`` and for itself.

``rollout`` and ``prepared`` are the operator's memory: with them a restarted operator goes on where it was. They may
change with every version; all the rest is part of the interface.
"""

from typing import Any, Literal

import msgspec

ConditionType = Literal["Ready", "Progressing", "Paused", "Stalled", "TopicsReady", "RolledBack"]
Truth = Literal["True", "False", "Unknown"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that holds or does not; see Kubernetes' own conditions.

    Attributes:
        observed_generation: of the resource that was looked at. While it is behind ``metadata.generation`` the
            condition says nothing of what was applied last.
        last_transition_time: when ``status`` last changed.
        reason: one word, which programs may compare.
        message: a sentence for people; where something is wrong it says what to do.
    """

    type: ConditionType
    status: Truth
    observed_generation: int
    last_transition_time: str
    reason: str
    message: str


class Share(_Part, frozen=True, kw_only=True):
    """The pods of one revision and the partitions that the broker has given them."""

    revision: str = ""
    replicas: int = 0
    ready: int = 0
    partitions: int = 0


class GateResult(_Part, frozen=True, kw_only=True):
    """How a gate stands in the rollout under way; ``value`` is the canary's, ``stable`` is stable's."""

    name: str
    verdict: str = ""
    passed: int = 0
    failed: int = 0
    value: float | None = None
    stable: float | None = None
    detail: str = ""


class ProcessorStatus(_Part, frozen=True, kw_only=True):
    """One processor."""

    revision: str = ""
    stage: str = ""
    step: str = ""
    stable: Share = Share()
    canary: Share = Share()
    lag: int | None = None
    gates: tuple[GateResult, ...] = ()


class LastRollback(_Part, frozen=True, kw_only=True):
    """Why the last release that was taken back was. ``metric`` is a gate's name where one decided."""

    time: str
    reason: str
    message: str = ""
    release: str = ""
    processor: str = ""
    revision: str = ""
    metric: str = ""
    value: float | None = None
    threshold: str = ""


class Promoted(_Part, frozen=True, kw_only=True):
    """A release that proved itself."""

    release: str
    revisions: dict[str, str]
    time: str


class Status(_Part, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        observed_generation: of the resource that all the rest is about.
        revision: the release that is wanted: a name for the revisions of all processors together.
        weight: the share of its partitions, in per cent, that the least far processor's new revision has.
        handled: by verb, the last value of its annotation that was acted on.
        prepared: by context, the revisions that may write to its database.
        rollout: what the rollout remembers.
    """

    observed_generation: int = 0
    phase: str = ""
    step: str = ""
    weight: int = 0
    revision: str = ""
    message: str = ""
    lag: int | None = None
    conditions: tuple[Condition, ...] = ()
    processors: dict[str, ProcessorStatus] = {}
    last_rollback: LastRollback | None = None
    history: tuple[Promoted, ...] = ()
    handled: dict[str, str] = {}
    prepared: dict[str, tuple[str, ...]] = {}
    rollout: dict[str, Any] = {}
