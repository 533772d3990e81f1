"""The decision: from what is remembered, wanted and seen to what is remembered next and has to be done.

In this order: what a person says, what the resource wants, what speaks against it, one step further for each
processor, scaling where nothing is on its way, and then how many pods and partitions follow from all of that. A failure
is looked for before anything goes on, also while a rollout is paused or holds.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from orderflow_operator.rollout import gates, scaling
from orderflow_operator.rollout.asking import asked_for, is_unknown
from orderflow_operator.rollout.describing import described
from orderflow_operator.rollout.failing import failures, overdue
from orderflow_operator.rollout.gates import policies
from orderflow_operator.rollout.model import (
    Action,
    GateMemory,
    Observation,
    ProcessorRollout,
    ProcessorSeen,
    Rollback,
    Rollout,
    Say,
    ShadowSeen,
    Verb,
    Wanted,
    WantedProcessor,
)
from orderflow_operator.rollout.placing import place, restored, seen_of
from orderflow_operator.rollout.releasing import (
    all_moved,
    hurried,
    installed,
    installing,
    promoted,
    started,
    taken_back,
    undone,
)
from orderflow_operator.rollout.stepping import Going, advanced, counted_anew, waits_on_purpose


def decide(rollout: Rollout, wanted: Wanted, observation: Observation) -> tuple[Rollout, tuple[Action, ...]]:
    """Return what to remember from now on, and everything that is to be so."""
    turn = _Turn(rollout, wanted, observation)
    turn.obey()
    turn.follow()
    turn.judge()
    turn.advance()
    turn.learn()
    turn.scale()
    turn.place()
    return turn.rollout, (*asked_for(turn.rollout, turn.seen, turn.policies, turn.now), *turn.said)


class _Turn:
    """One decision, step by step; the methods are called in the order in which they stand."""

    def __init__(self, rollout: Rollout, wanted: Wanted, observation: Observation) -> None:
        self.before = rollout
        self.rollout = rollout
        self.wanted = wanted
        self.now = observation.now
        self.command = observation.command
        self.seen = {name: observation.processors.get(name, ProcessorSeen()) for name in wanted.processors}
        self.policies = {name: policies(one.gates) for name, one in wanted.processors.items()}
        self.said: list[Say] = []
        self.resumed = False
        self.held = ""

    def obey(self) -> None:
        """Carry a new command out, once."""
        command = self.command
        if command is None or command.id == self.rollout.command:
            return
        self.rollout = replace(self.rollout, command=command.id)
        self._carry_out(command.verb)

    def _carry_out(self, verb: Verb) -> None:
        target = self.rollout.target
        under_way = target and self.rollout.stable
        match verb:
            case "promote" if under_way:
                self.rollout = hurried(self.rollout)
            case "resume" if under_way:
                self.resumed = True
            case "abort" | "undo" if under_way:
                self._take_back(Rollback(release=target, reason="Aborted", message="somebody said so", at=self.now))
            case "retry":
                self.rollout = replace(self.rollout, refused="")
            case "undo" if self.rollout.phase == "Stable":
                self.rollout = undone(self.rollout, self.wanted.release, self.now)
                self._say("Undoing", f"back to the release {self.rollout.target} before this one")

    def follow(self) -> None:
        """Begin the release that is wanted, or give up one that no longer is."""
        wanted, rollout = self.wanted.release, self.rollout
        if not rollout.stable:
            if rollout.target != wanted:
                self.rollout = installing(rollout, self.wanted, self.now)
                self._say("Installing", f"release {wanted}")
            return
        if wanted in {rollout.target, rollout.refused}:
            return
        self.rollout = rollout = replace(rollout, refused="")
        if wanted != rollout.stable:
            self._begin()
        elif rollout.target:
            self._say("Superseded", f"release {rollout.target} is no longer wanted")
            self.rollout = taken_back(rollout, None)

    def _begin(self) -> None:
        superseded = f", instead of {self.rollout.target}" if self.rollout.target else ""
        self.rollout = started(self.rollout, self.wanted, self.seen, self.now)
        changed = ", ".join(name for name, one in self.rollout.processors.items() if one.target)
        self._say("RolloutStarted", f"release {self.wanted.release}{superseded}: {changed}")

    def judge(self) -> None:
        """Take in what the gates have measured, and take the release back if anything speaks against it."""
        if not (self.rollout.target and self.rollout.stable):
            return
        processors = dict(self.rollout.processors)
        for name, processor in self._under_way():
            processors[name] = self._restarted(name, self._measured(name, processor))
        self.rollout = replace(self.rollout, processors=processors)
        found = next(self._failures(), None)
        if found is not None:
            self._take_back(found)

    def _restarted(self, name: str, processor: ProcessorRollout) -> ProcessorRollout:
        """Count the restarts of this rollout; what was measured before one says nothing of what comes after."""
        seen = seen_of(self.seen[name], processor.target).restarts
        before = min(processor.restarts_before, seen)
        if seen - before > processor.restarts:
            processor = replace(processor, gates=counted_anew(processor.gates))
        return replace(processor, restarts_before=before, restarts=seen - before)

    def _measured(self, name: str, processor: ProcessorRollout) -> ProcessorRollout:
        memories = dict(processor.gates)
        for gate, measurement in self.seen[name].measurements.items():
            policy, memory = self.policies[name].get(gate), memories.get(gate, GateMemory())
            if policy is None:
                continue
            if not processor.joined_at:
                memories[gate] = gates.noted(memory, measurement)
            elif measurement.at >= processor.joined_at + policy.initial_delay:
                memories[gate] = gates.folded(policy, memory, measurement, settled_at=processor.partitions_at)
        return replace(processor, gates=memories)

    def _failures(self) -> Iterator[Rollback]:
        for name, _ in self._under_way():
            yield from failures(self.rollout, name, self.seen[name], self.policies[name], self.now)
        if self.now - self.rollout.progress_at > self.wanted.progress_deadline_seconds:
            yield overdue(self.rollout, self.seen, self.now)

    def _take_back(self, why: Rollback) -> None:
        self.rollout = taken_back(self.rollout, why)
        self._say("RolledBack", f"{why.reason}: {why.message}", warning=True)

    def advance(self) -> None:
        """Go one step further with every processor that may, and end what has come to its end."""
        rollout = self.rollout
        if not rollout.target:
            self._restore()
        elif not rollout.stable:
            if installed(rollout, self.seen, self.wanted.partitions):
                self._promote("Installed")
        else:
            self.held = self._hold()
            if not self.held:
                self._go_on()
            self._note_progress()

    def _restore(self) -> None:
        back = all(
            restored(one, self.seen[name], self.wanted.partitions)
            for name, one in self.rollout.processors.items()
            if name in self.seen
        )
        if self.rollout.phase == "RollingBack" and back:
            self.rollout = replace(self.rollout, phase="Stable")
            self._say("Restored", f"release {self.rollout.stable} has everything again")

    def _hold(self) -> str:
        """Return why the rollout must not go on, as a reason and a sentence; empty if it may."""
        if self.wanted.paused:
            return "Paused: spec.paused is true"
        for name, processor in self._under_way():
            if self._emergency(name):
                return f"EmergencyLag: {name} lags behind, and stable is scaled first"
            for gate, policy in self.policies[name].items():
                memory = processor.gates.get(gate, GateMemory())
                if gates.undecided(policy, memory):
                    return f"NoData: {name}: {gate} cannot be judged: {memory.detail}"
        return ""

    def _emergency(self, name: str) -> bool:
        """Tell whether the lag is an emergency; one that is ends at half of the lag at which it began."""
        rules, load = self.wanted.processors[name].autoscaling, self.seen[name].load
        if rules is None or rules.emergency_lag is None or load is None:
            return False
        lasting = self.rollout.reason == "EmergencyLag"
        return load.lag >= (rules.emergency_lag / 2 if lasting else rules.emergency_lag)

    def _go_on(self) -> None:
        processors = dict(self.rollout.processors)
        for name, processor in self._under_way():
            going = Going(
                now=self.now,
                partitions=self.wanted.partitions,
                seen=self.seen[name],
                policies=self.policies[name],
                resumed=self.resumed,
                free=self._is_free(name),
                begun_at=self.rollout.started_at,
            )
            processors[name] = advanced(processor, going)
        self.rollout = replace(self.rollout, processors=processors)
        if all_moved(self.rollout):
            self._promote("Promoted")

    def _is_free(self, name: str) -> bool:
        others = (self.rollout.processors.get(other) for other in self.wanted.processors[name].depends_on)
        return all(one is None or not one.target or one.stage == "Moved" for one in others)

    def _promote(self, reason: str) -> None:
        self._say(reason, f"release {self.rollout.target}")
        self.rollout = promoted(self.rollout, self.wanted.revision_history_limit, self.now)

    def _note_progress(self) -> None:
        """Keep the deadline off while nothing is to move, or something has moved."""
        under_way = [one for _, one in self._under_way() if one.stage != "Moved"]
        unhurried = self.held or (under_way and all(map(waits_on_purpose, under_way)))
        # The memory is written where it changes: while nothing is to move that is now and then.
        is_old = self.now - self.rollout.progress_at > self.wanted.progress_deadline_seconds / 4
        if _places(self.before) != _places(self.rollout) or (unhurried and is_old):
            self.rollout = replace(self.rollout, progress_at=self.now)

    def learn(self) -> None:
        """Remember what a stable revision declares that went in without a shadow step."""
        learnt = {
            name: replace(one, declaration=found.declaration)
            for name, one in self.rollout.processors.items()
            if is_unknown(one) and (found := self._shadow_of(name)) is not None and found.revision == one.stable
        }
        if learnt:
            self.rollout = replace(self.rollout, processors=self.rollout.processors | learnt)

    def _shadow_of(self, name: str) -> ShadowSeen | None:
        return self.seen[name].shadow if name in self.seen else None

    def scale(self) -> None:
        """Settle how many pods stable is to have, where no rollout has a say in it."""
        if self.rollout.phase not in {"Stable", "RollingBack"} or self.rollout.target:
            return
        as_wanted = self.wanted.release == self.rollout.stable
        self.rollout = replace(
            self.rollout,
            processors={
                name: self._scaled(one, self.wanted.processors[name], self.seen[name], as_wanted=as_wanted)
                if name in self.seen
                else one
                for name, one in self.rollout.processors.items()
            },
        )

    def _scaled(
        self, processor: ProcessorRollout, wanted: WantedProcessor, seen: ProcessorSeen, *, as_wanted: bool
    ) -> ProcessorRollout:
        rules = wanted.autoscaling
        if rules is None or rules.dry_run:
            fixed = min(wanted.replicas, self.wanted.partitions) if as_wanted else processor.replicas
            processor = replace(processor, replicas=fixed)
        if rules is None or seen.load is None or self.rollout.phase != "Stable":
            return processor
        memory = scaling.scaled(processor.scaling, rules, seen.load, processor.replicas, self.wanted.partitions)
        return replace(processor, scaling=memory, replicas=processor.replicas if rules.dry_run else memory.replicas)

    def place(self) -> None:
        """Let pods and partitions follow, and say where everything stands."""
        processors = {
            name: replace(one, asked=place(one, self.seen[name], self.wanted.partitions, self.now, self._relief(name)))
            if name in self.seen
            else one
            for name, one in self.rollout.processors.items()
        }
        self.rollout = described(replace(self.rollout, processors=processors), self.held, self._problem())

    def _problem(self) -> str:
        """Return what keeps a pod of a target from running, if anything does."""
        problems = ((name, seen_of(self.seen[name], one.target).problem) for name, one in self._under_way())
        return next((f"{name}: {problem}" for name, problem in problems if problem), "")

    def _relief(self, name: str) -> int:
        rules, load = self.wanted.processors[name].autoscaling, self.seen[name].load
        if not self.held.startswith("EmergencyLag") or rules is None or load is None or not self._emergency(name):
            return 0
        return scaling.needed(rules, load.lag, self.wanted.partitions)

    def _under_way(self) -> Iterator[tuple[str, ProcessorRollout]]:
        for name, processor in self.rollout.processors.items():
            if processor.target and name in self.seen:
                yield name, processor

    def _say(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.said.append(Say(reason=reason, message=message, warning=warning))


def _places(rollout: Rollout) -> list[tuple[str, str, int, int]]:
    return [(one.target, one.stage, one.step, one.partitions) for one in rollout.processors.values()]
