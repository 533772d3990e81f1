"""What a rollout remembers, what it is told, and what it asks for.

Three words are used throughout. A *revision* is all that the pods of one processor are made from (image, settings, the
content of the Secrets and ConfigMaps that it refers to), named by a hash of it. A *release* is one revision for every
processor, named likewise. *Stable* is the release that has proven itself, *target* the one that is on its way.

:class:`Rollout` is the memory. It stands in the resource's status and is written there before anything that it asks for
is done: whoever reads it after a restart goes on from what may have been done. Every list of actions is complete: doing
it twice, or doing only the newest, is the same.
"""

from typing import Literal

import msgspec

from orderflow.spec.rollout import Autoscaling, Gate, Step, Strategy

Revisions = dict[str, str]
"""By processor, its revision."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """An input: never stored."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of the status."""


# What is wanted


class WantedProcessor(_Told, frozen=True, kw_only=True):
    """One processor as the resource wants it; see :class:`~orderflow.spec.resource.Processor`."""

    revision: str
    replicas: int = 1
    strategy: Strategy = Strategy()
    depends_on: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    autoscaling: Autoscaling | None = None


class Wanted(_Told, frozen=True, kw_only=True):
    """The resource, as far as it matters here.

    Attributes:
        release: names what ``processors`` has as revisions together.
        partitions: of every topic.
    """

    release: str
    processors: dict[str, WantedProcessor]
    partitions: int
    paused: bool = False
    progress_deadline_seconds: float = 600.0
    revision_history_limit: int = 10


# What is seen


class RevisionSeen(_Told, frozen=True, kw_only=True):
    """The pods of one revision of one processor. What is not known for certain is counted as if it were there.

    Attributes:
        pods: that exist, those that are about to end included; or that their Deployment is to have, if those are more.
        ready: those that are up and have checked themselves.
        members: those that may be in the consumer group: all of ``pods`` but those that say that they are out of it and
            that they have read that they are to be.
        assigned: partitions that the broker has given to them.
        restarts: of the containers of those that exist.
        problem: what keeps a pod from running, as Kubernetes says it; empty if nothing does.
    """

    pods: int = 0
    ready: int = 0
    members: int = 0
    assigned: int = 0
    restarts: int = 0
    problem: str = ""


class Declaration(_Kept, frozen=True, kw_only=True):
    """What a revision says of itself.

    Attributes:
        reads, writes: names with versions of states and messages: ``payment-state/1``, ``PaymentSucceeded/1``.
        topology: equal for revisions that may share a consumer group: their topics and tables.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    topology: str = ""


class ShadowSeen(_Told, frozen=True, kw_only=True):
    """How the shadow step of ``revision`` ended ``at`` a time; ``fault`` is empty where it decided the same."""

    revision: str
    at: float
    compared: int = 0
    fault: str = ""
    declaration: Declaration = Declaration()


class Measurement(_Told, frozen=True, kw_only=True):
    """One measurement of a gate.

    Attributes:
        at: when it was taken; a later one has a later time.
        value: the canary's; ``None`` where there is no data.
        stable: stable's, where it was asked for and there is data.
        samples: how many messages the canary's value stands for; ``None`` if the source cannot say.
        why: why there is no data.
    """

    at: float
    value: float | None = None
    stable: float | None = None
    samples: float | None = None
    why: str = ""


class LettersSeen(_Told, frozen=True, kw_only=True):
    """The dead letters of the target's revision since the release began, each decided again by stable's.

    Attributes:
        revision: whose.
        its_own: stable decides the message, so the revision is at fault.
        shared: stable fails too, so the message is at fault.
        example: where ``its_own`` can be looked at.
    """

    revision: str
    its_own: int = 0
    shared: int = 0
    example: str = ""


class LoadSeen(_Told, frozen=True, kw_only=True):
    """The work of a processor, whatever its revisions.

    Attributes:
        lag: messages that are not recorded yet, over all partitions.
        rate: messages recorded per second, over the last interval.
    """

    at: float
    lag: int
    rate: float


class ProcessorSeen(_Told, frozen=True, kw_only=True):
    """All that is seen of one processor. ``measurements`` is by gate; see :class:`Measure`."""

    revisions: dict[str, RevisionSeen] = {}
    shadow: ShadowSeen | None = None
    measurements: dict[str, Measurement] = {}
    letters: LettersSeen | None = None
    load: LoadSeen | None = None


Verb = Literal["promote", "abort", "retry", "resume", "undo"]
"""``pause`` and the end of it are ``spec.paused``, and no command."""


class Command(_Told, frozen=True, kw_only=True):
    """What a person wants. It is carried out once per ``id``, however often it is seen."""

    id: str
    verb: Verb


class Observation(_Told, frozen=True, kw_only=True):
    """Everything that is seen at ``now``, in seconds since 1970."""

    now: float
    processors: dict[str, ProcessorSeen] = {}
    command: Command | None = None


# What is remembered


class Asked(_Kept, frozen=True, kw_only=True):
    """What was last asked for of one revision's pods.

    ``partitions`` is how many of them they may have together: ``None`` is as many as there are, none keeps them out of
    the group.
    """

    replicas: int = 0
    partitions: int | None = 0


class GateMemory(_Kept, frozen=True, kw_only=True):
    """What one gate has measured in this rollout.

    Attributes:
        passed, failed: good and bad measurements since the last step began.
        inconclusive: measurements without data, in a row.
        measured_at: the time of the last one; ``value``, ``stable`` and ``verdict`` are its.
    """

    passed: int = 0
    failed: int = 0
    inconclusive: int = 0
    measured_at: float = 0.0
    value: float | None = None
    stable: float | None = None
    verdict: Literal["", "Passed", "Failed", "Inconclusive"] = ""
    detail: str = ""


class ScalingMemory(_Kept, frozen=True, kw_only=True):
    """What the autoscaler remembers of one processor.

    Attributes:
        recommended: times and recommendations within the longer stabilization window.
        replicas: what it has decided on; 0 before it has decided anything.
        raised_at, raised_from, rate_before: the last raise, until it was judged; no time if none is open.
        ceiling: more than so many did not help; holds until ``ceiling_until``.
    """

    recommended: tuple[tuple[float, int], ...] = ()
    replicas: int = 0
    seen_at: float = 0.0
    raised_at: float = 0.0
    raised_from: int = 0
    rate_before: float = 0.0
    ceiling: int = 0
    ceiling_until: float = 0.0
    why: str = ""


Stage = Literal["Waiting", "Shadow", "Starting", "Stepping", "Moved"]
"""Where a processor is with its target revision: it waits for those it depends on; it decides recorded decisions again;
its pods start and check themselves outside the group; it takes partitions over; it has them all."""


class ProcessorRollout(_Kept, frozen=True, kw_only=True):
    """One processor's part of the memory.

    Attributes:
        stable: the proven revision; empty before there is one.
        replicas: how many pods of it there are to be outside rollouts.
        target, target_replicas: the revision on its way; empty if there is none.
        steps: of the target's strategy, as they were when it began.
        step: the place among them; ``step_at`` is when it began.
        partitions: the share that the target is to have now; ``partitions_at`` is when it last changed.
        joined_at: when the target first had partitions; no time if it never had.
        restarts: of the target's containers in this rollout; ``restarts_before`` were there when it began.
        asked: by revision, also those that are on their way out.
        warm_until: by revision without partitions, until when it is kept running.
        declaration, target_declaration: what the revisions declare; none where nobody has asked.
    """

    stable: str = ""
    replicas: int = 0
    target: str = ""
    target_replicas: int = 0
    stage: Stage = "Waiting"
    blue_green: bool = False
    max_surge: int = 1
    scale_down_delay: float = 0.0
    steps: tuple[Step, ...] = ()
    step: int = 0
    step_at: float = 0.0
    partitions: int = 0
    partitions_at: float = 0.0
    joined_at: float = 0.0
    restarts_before: int = 0
    restarts: int = 0
    asked: dict[str, Asked] = {}
    warm_until: dict[str, float] = {}
    gates: dict[str, GateMemory] = {}
    declaration: Declaration | None = None
    target_declaration: Declaration | None = None
    scaling: ScalingMemory = ScalingMemory()


Phase = Literal["Installing", "Stable", "Progressing", "Paused", "Holding", "RollingBack"]
"""``Paused`` ends by a person, or with the step's time; ``Holding`` ends by itself, as soon as there are data or the
lag has gone."""


class Rollback(_Kept, frozen=True, kw_only=True):
    """Why a release was taken back, and what it was about. ``metric`` is a gate's name where one decided."""

    release: str
    reason: str
    message: str
    at: float
    processor: str = ""
    revision: str = ""
    metric: str = ""
    value: float | None = None
    threshold: str = ""


class PastRelease(_Kept, frozen=True, kw_only=True):
    """A release that was promoted."""

    release: str
    revisions: Revisions
    replicas: dict[str, int]
    at: float


class Rollout(_Kept, frozen=True, kw_only=True):
    """The memory of a resource's rollouts.

    Attributes:
        stable: the proven release; empty before there is one.
        target: the release on its way; empty if there is none.
        refused: a release that was taken back and is not tried again until ``retry`` or another one is wanted.
        progress_at: when something last moved; holding and pausing count as moving.
        command: the id of the last command that was carried out.
        history: promoted releases, the newest (which is ``stable``) last.
    """

    phase: Phase = "Installing"
    reason: str = ""
    message: str = ""
    stable: str = ""
    target: str = ""
    refused: str = ""
    started_at: float = 0.0
    progress_at: float = 0.0
    command: str = ""
    processors: dict[str, ProcessorRollout] = {}
    last_rollback: Rollback | None = None
    history: tuple[PastRelease, ...] = ()


# What is asked for


class Allow(_Told, frozen=True, kw_only=True, tag=True):
    """These revisions of the processor, and no others, may write to its database."""

    processor: str
    revisions: tuple[str, ...]


class Scale(_Told, frozen=True, kw_only=True, tag=True):
    """The revision is to have so many pods, and they so many of the partitions; see :class:`Asked`."""

    processor: str
    revision: str
    replicas: int
    partitions: int | None


class RunShadow(_Told, frozen=True, kw_only=True, tag=True):
    """The revision is to decide recorded decisions again; the result comes as :class:`ShadowSeen`."""

    processor: str
    revision: str


class Measure(_Told, frozen=True, kw_only=True, tag=True):
    """The gate is due: measure it for ``revision``, and for ``stable`` where it compares."""

    processor: str
    gate: str
    revision: str
    stable: str


class Say(_Told, frozen=True, kw_only=True, tag=True):
    """Something happened just now: an Event. The reasons are part of the interface and do not change."""

    reason: str
    message: str
    warning: bool = False


class LookAgain(_Told, frozen=True, kw_only=True, tag=True):
    """Nothing has to happen before so many seconds have passed."""

    seconds: float


Action = Allow | Scale | RunShadow | Measure | Say | LookAgain
