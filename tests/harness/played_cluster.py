"""A cluster and a consumer group in play: pods come, check themselves, read their share, join and leave, each in its
own time, in whatever order a test chooses. What `decide` asks for is all that reaches it."""

from dataclasses import dataclass, field
from typing import Literal

from orderflow_operator.rollout.decide import decide
from orderflow_operator.rollout.model import (
    Action,
    Allow,
    Command,
    LettersSeen,
    LoadSeen,
    Measure,
    Measurement,
    Observation,
    ProcessorSeen,
    RevisionSeen,
    Rollout,
    RunShadow,
    Scale,
    ShadowSeen,
    Verb,
    Wanted,
)

Fault = Literal["", "shadow", "never ready", "crashes", "errors", "letters"]


@dataclass(eq=False)
class Pod:
    """``share`` is what it has read; it is no member before it is ready."""

    share: int | None
    ready: bool = False
    member: bool = False
    ending: bool = False
    restarts: int = 0


@dataclass
class Pods:
    """One Deployment of one revision and the settings that its pods read."""

    replicas: int = 0
    share: int | None = 0
    pods: list[Pod] = field(default_factory=list)

    def seen(self, assigned: int) -> RevisionSeen:
        out = sum(not pod.member and pod.share == 0 and self.share == 0 for pod in self.pods)
        coming = max(0, self.replicas - len(self.pods)) if self.share != 0 else 0
        return RevisionSeen(
            pods=max(len(self.pods), self.replicas),
            ready=sum(pod.ready and not pod.ending for pod in self.pods),
            members=len(self.pods) - out + coming,
            assigned=assigned,
            restarts=sum(pod.restarts for pod in self.pods),
        )


@dataclass
class PlayedCluster:
    """One processor's worth per name, and the operator's memory."""

    partitions: int
    faults: dict[str, Fault] = field(default_factory=dict)
    now: float = 1000.0
    rollout: Rollout = field(default_factory=Rollout)
    revisions: dict[str, dict[str, Pods]] = field(default_factory=dict)
    shadows: dict[str, ShadowSeen] = field(default_factory=dict)
    measurements: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    data: bool = True
    command: Command | None = None
    lags: dict[str, int] = field(default_factory=dict)
    verbs: set[Verb] = field(default_factory=set)

    def decide(self, wanted: Wanted, *, recorded: bool = True, done: int | None = None) -> tuple[Action, ...]:
        """Decide; then record, unless the operator dies before, and do the first ``done`` actions, or all."""
        observed = self.observe()
        rollout, actions = decide(self.rollout, wanted, observed)
        assert decide(self.rollout, wanted, observed) == (rollout, actions), "the same input decides the same"
        if not recorded:
            return ()
        self.rollout = rollout
        for action in actions[:done]:
            self._do(action)
        return actions

    def observe(self) -> Observation:
        return Observation(
            now=self.now,
            command=self.command,
            processors={
                name: ProcessorSeen(
                    revisions={one: pods.seen(self.assigned(name, one)) for one, pods in revisions.items()},
                    shadow=self.shadows.get(name),
                    measurements=self.measurements.get(name, {}),
                    letters=self._letters(name),
                    load=LoadSeen(at=self.now, lag=self.lags[name], rate=100.0) if name in self.lags else None,
                )
                for name, revisions in self.revisions.items()
            },
        )

    def _letters(self, name: str) -> LettersSeen | None:
        target = self.rollout.processors[name].target if name in self.rollout.processors else ""
        at_fault = self.faults.get(target) == "letters" and self.assigned(name, target) > 0
        return LettersSeen(revision=target, its_own=1, shared=3, example="a letter") if at_fault else None

    def _do(self, action: Action) -> None:
        match action:
            case Scale():
                pods = self.revisions.setdefault(action.processor, {}).setdefault(action.revision, Pods())
                pods.replicas, pods.share = action.replicas, action.partitions
            case Allow():
                self.allowed[action.processor] = action.revisions
            case RunShadow():
                fault = "is decided differently" if self.faults.get(action.revision) == "shadow" else ""
                self.shadows[action.processor] = ShadowSeen(revision=action.revision, at=self.now, fault=fault)
            case Measure():
                value = 1.0 if self.faults.get(action.revision) == "errors" else 0.0
                taken = Measurement(at=self.now, value=value if self.data else None, stable=0.0, samples=100)
                self.measurements.setdefault(action.processor, {})[action.gate] = taken
            case _:
                pass

    # What happens by itself

    def moves(self) -> list[tuple[str, str]]:
        return [(name, revision) for name, revisions in self.revisions.items() for revision in revisions]

    def control(self, name: str, revision: str) -> None:
        """The Deployment's controller creates a pod, or ends one."""
        pods = self.revisions[name][revision]
        living = [pod for pod in pods.pods if not pod.ending]
        if len(living) < pods.replicas:
            pods.pods.append(Pod(share=pods.share))
        elif len(living) > pods.replicas:
            living[-1].ending = True

    def move(self, name: str, revision: str, which: int) -> None:
        """One pod does the next thing that it has to do."""
        pods = self.revisions[name][revision]
        if not pods.pods:
            return
        pod = pods.pods[which % len(pods.pods)]
        fault = self.faults.get(revision, "")
        if pod.ending:
            if not pod.member:
                pods.pods.remove(pod)
            pod.member = False
        elif pod.share != pods.share:
            pod.share = pods.share
        elif fault == "crashes" and pod.ready:
            pod.ready, pod.member, pod.restarts = False, False, pod.restarts + 1
        elif not pod.ready:
            pod.ready = fault != "never ready"
        else:
            pod.member = pod.share != 0
        assert self.members(name) <= self.partitions, f"{self.members(name)} consumers of {self.partitions} partitions"

    def members(self, name: str) -> int:
        return sum(pod.member for pods in self.revisions[name].values() for pod in pods.pods)

    def assigned(self, name: str, revision: str) -> int:
        """What the assignor gives to the revision's members: limits first, the rest to those without one."""
        shares = {
            one: (sum(pod.member for pod in pods.pods), [pod.share for pod in pods.pods if pod.member])
            for one, pods in self.revisions[name].items()
        }
        left, given = self.partitions, {}
        for one, (members, limits) in shares.items():
            known = [limit for limit in limits if limit is not None]
            if members and known:
                given[one] = min(left, *known)
                left -= given[one]
        free = [one for one, (members, limits) in shares.items() if members and None in limits and one not in given]
        for place, one in enumerate(free):
            given[one] = left // len(free) + (place < left % len(free))
        return given.get(revision, 0)

    def settle(self, wanted: Wanted, looks: int = 400) -> None:
        """Let everything happen fairly until nothing changes any more."""
        for _ in range(looks):
            self.now += 5.0
            before = self.rollout
            self.decide(wanted)
            for name, revision in self.moves():
                for _ in range(self.partitions + 1):
                    self.control(name, revision)
                for which in range(6 * (self.partitions + 2)):
                    self.move(name, revision, which)
            if self.rollout == before and self.rollout.phase in {"Stable", "Paused"}:
                return
        raise AssertionError(f"it never comes to rest: {self.rollout}")
