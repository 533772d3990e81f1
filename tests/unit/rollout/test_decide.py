"""What a rollout does, sentence by sentence."""

import msgspec
import pytest

from harness.played_cluster import Fault, PlayedCluster
from orderflow.spec.rollout import Analysis, Autoscaling, BlueGreen, Canary, Gate, Pause, Stabilization, Step, Strategy
from orderflow_operator.rollout.decide import decide
from orderflow_operator.rollout.model import (
    Allow,
    Command,
    Declaration,
    LoadSeen,
    Measure,
    ProcessorSeen,
    Rollout,
    RunShadow,
    Say,
    Scale,
    ShadowSeen,
    Verb,
    Wanted,
    WantedProcessor,
)

STEPS = (Step(set_weight=25), Step(analysis=Analysis()), Step(set_weight=50), Step(analysis=Analysis()))
CANARY = Strategy(canary=Canary(steps=STEPS))
BLUE_GREEN = Strategy(blue_green=BlueGreen(scale_down_delay_seconds=600))


def release(number: int, strategy: Strategy = CANARY, replicas: int = 4, **more: object) -> Wanted:
    one = msgspec.convert({"revision": f"order-{number}", "replicas": replicas, **more}, WantedProcessor)
    one = msgspec.structs.replace(one, strategy=strategy)
    return Wanted(release=f"release-{number}", processors={"order": one}, partitions=8)


class Rolling(PlayedCluster):
    """A cluster in which release 1 is stable."""

    def __init__(self, fault: Fault = "", **more: object) -> None:
        super().__init__(8, {"order-2": fault})
        self.wanted = release(1, **more)  # type: ignore[arg-type]
        self.settle(self.wanted)

    def wants(self, wanted: Wanted) -> None:
        self.wanted = wanted

    def look(self, seconds: float = 5.0) -> tuple[object, ...]:
        """Let time pass, look once, and let everything that was asked for happen."""
        self.now += seconds
        actions = self.decide(self.wanted)
        for name, revision in self.moves():
            for _ in range(8):
                self.control(name, revision)
            for which in range(60):
                self.move(name, revision, which)
        return actions

    def shares(self) -> list[int]:
        """Look until it comes to rest; return the partitions that the new revision had on the way."""
        found = [0]
        for _ in range(200):
            before = self.rollout
            self.look()
            share = self.assigned("order", "order-2") if "order-2" in self.revisions["order"] else 0
            if share != found[-1]:
                found.append(share)
            if self.rollout == before and self.rollout.phase in {"Stable", "Paused"}:
                return found
        raise AssertionError(f"it never comes to rest: {self.rollout}")

    def until_step(self, step: int) -> None:
        for _ in range(100):
            if self.rollout.processors["order"].step >= step:
                return
            self.look()
        raise AssertionError(f"it never gets there: {self.rollout}")

    def say(self, verb: Verb) -> None:
        self.command = Command(id=f"{verb}-{self.now}", verb=verb)
        self.look()


def test_a_canary_goes_through_its_steps_and_is_promoted() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    shares = rolling.shares()
    assert [share for share in shares if share in {2, 4, 8}] == [2, 4, 8]
    assert shares == sorted(shares)
    assert (rolling.rollout.stable, rolling.rollout.phase) == ("release-2", "Stable")
    assert [one.release for one in rolling.rollout.history] == ["release-1", "release-2"]


def test_no_pod_of_a_new_revision_joins_before_it_has_decided_the_same_and_checked_itself() -> None:
    rolling = Rolling("never ready")
    rolling.wants(release(2))
    rolling.look()
    assert "order-2" not in rolling.revisions["order"], "the shadow step comes first"
    rolling.look()
    rolling.look()
    assert rolling.revisions["order"]["order-2"].pods, "they start"
    assert rolling.revisions["order"]["order-2"].share == 0, "outside the group"
    assert rolling.assigned("order", "order-1") == 8


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shadow", "ShadowDiffers"),
        ("never ready", "ProgressDeadlineExceeded"),
        ("crashes", "Restarts"),
        ("errors", "GateFailed"),
        ("letters", "DeadLettersOfItsOwn"),
    ],
)
@pytest.mark.parametrize("strategy", [CANARY, BLUE_GREEN], ids=["canary", "blueGreen"])
def test_what_is_bad_is_taken_back_and_says_why(fault: Fault, reason: str, strategy: Strategy) -> None:
    rolling = Rolling(fault)
    rolling.wants(release(2, strategy))
    rolling.shares()
    rollout = rolling.rollout
    assert rollout.last_rollback is not None
    assert (rollout.stable, rollout.refused, rollout.last_rollback.reason) == ("release-1", "release-2", reason)
    assert rollout.last_rollback.processor == "order"
    assert rolling.assigned("order", "order-1") == 8
    assert rolling.revisions["order"]["order-1"].replicas == 4
    assert rolling.allowed["order"] == ("order-1",)


def test_a_rollback_names_metric_value_and_threshold() -> None:
    rolling = Rolling("errors")
    rolling.wants(release(2))
    rolling.shares()
    why = rolling.rollout.last_rollback
    assert why is not None
    assert (why.metric, why.value, why.revision) == ("error-rate", 1.0, "order-2")
    assert why.threshold == "at most 0.5, at most 1.5 times stable's or 0.1 more"


def test_a_rollback_forbids_the_bad_revision_before_anything_else() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    rolling.command = Command(id="a", verb="abort")
    first, *_ = rolling.look()
    assert first == Allow(processor="order", revisions=("order-1",))


def test_what_was_refused_is_not_tried_again_until_somebody_says_so() -> None:
    rolling = Rolling("shadow")
    rolling.wants(release(2))
    rolling.shares()
    rolling.shares()
    assert rolling.rollout.target == ""
    rolling.faults["order-2"] = ""
    rolling.say("retry")
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_what_is_tried_again_begins_with_the_shadow_step_anew() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    rolling.say("abort")
    rolling.shares()
    found = rolling.shadows["order"]
    rolling.command = Command(id="again", verb="retry")
    assert RunShadow(processor="order", revision="order-2") in rolling.look()
    rolling.shadows["order"] = found
    rolling.look()
    assert rolling.rollout.processors["order"].stage == "Shadow", "what was found before says nothing"


def test_a_newer_release_takes_the_place_of_one_on_its_way() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(2)
    rolling.wants(release(3))
    rolling.shares()
    assert rolling.rollout.stable == "release-3"
    assert [one.release for one in rolling.rollout.history] == ["release-1", "release-3"]
    assert rolling.rollout.last_rollback is None


def test_a_release_that_is_wanted_no_more_gives_way_to_stable_and_is_no_failure() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(2)
    rolling.wants(release(1))
    assert any(isinstance(one, Say) and one.reason == "Superseded" for one in rolling.look())
    rolling.shares()
    assert (rolling.rollout.stable, rolling.rollout.refused, rolling.rollout.last_rollback) == ("release-1", "", None)


def test_a_pause_waits_for_a_person_and_goes_on_with_resume() -> None:
    rolling = Rolling()
    rolling.wants(release(2, Strategy(canary=Canary(steps=(Step(set_partitions=1), Step(pause=Pause()))))))
    rolling.until_step(1)
    for _ in range(300):
        rolling.look()
    assert (rolling.rollout.phase, rolling.rollout.reason) == ("Paused", "PauseStep")
    assert rolling.assigned("order", "order-2") == 1
    rolling.say("resume")
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_a_pause_with_a_duration_ends_by_itself() -> None:
    rolling = Rolling()
    rolling.wants(release(2, Strategy(canary=Canary(steps=(Step(set_partitions=1), Step(pause=Pause(duration="1m")))))))
    rolling.until_step(1)
    rolling.look(50)
    assert rolling.rollout.processors["order"].step == 1
    rolling.look(10)
    assert rolling.rollout.processors["order"].step == 2


def test_promote_goes_past_what_is_left() -> None:
    rolling = Rolling()
    rolling.wants(release(2, Strategy(canary=Canary(steps=(Step(set_partitions=1), Step(pause=Pause()))))))
    rolling.until_step(1)
    rolling.say("promote")
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_paused_holds_and_a_failure_still_takes_it_back() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    rolling.wants(msgspec.structs.replace(release(2), paused=True))
    for _ in range(300):
        rolling.look()
    assert (rolling.rollout.phase, rolling.rollout.processors["order"].step) == ("Paused", 1)
    rolling.faults["order-2"] = "letters"
    rolling.shares()
    assert rolling.rollout.refused == "release-2"


def test_no_data_holds_for_as_long_as_it_takes_and_says_so() -> None:
    rolling = Rolling()
    rolling.data = False
    rolling.wants(release(2))
    for _ in range(300):
        rolling.look()
    assert (rolling.rollout.phase, rolling.rollout.reason) == ("Holding", "NoData")
    assert "cannot be judged: there are no data" in rolling.rollout.message
    rolling.data = True
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_one_restart_is_borne_and_the_analysis_begins_anew() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    for _ in range(8):
        rolling.look()
    assert rolling.rollout.processors["order"].gates["error-rate"].passed > 1
    [pod] = rolling.revisions["order"]["order-2"].pods
    pod.restarts = 1
    rolling.look(1)
    assert rolling.rollout.processors["order"].gates["error-rate"].passed == 0
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_a_gate_s_dry_run_stops_nothing() -> None:
    dry = [Gate(name=name, dry_run=True) for name in ("error-rate", "processing-seconds-p95")]
    rolling = Rolling("errors")
    rolling.wants(release(2, gates=msgspec.to_builtins(dry)))
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def test_blue_green_takes_over_at_once_and_drains_first() -> None:
    rolling = Rolling()
    rolling.wants(release(2, BLUE_GREEN))
    assert rolling.shares() == [0, 8]
    blue = rolling.revisions["order"]["order-1"]
    assert (blue.replicas, blue.share) == (4, 0), "kept warm"
    rolling.look(700)
    rolling.look()
    assert blue.replicas == 0, "until its delay is over"


def test_undo_goes_back_at_once_while_the_old_one_is_warm() -> None:
    rolling = Rolling()
    rolling.wants(release(2, BLUE_GREEN))
    rolling.shares()
    rolling.say("undo")
    looks = 0
    while rolling.assigned("order", "order-1") < 8:
        rolling.look()
        looks += 1
    assert looks <= 4
    rolling.shares()
    assert (rolling.rollout.stable, rolling.rollout.refused) == ("release-1", "release-2")


def test_undo_twice_is_one_undo_for_one_command() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.shares()
    rolling.command = Command(id="once", verb="undo")
    rolling.shares()
    rolling.shares()
    assert rolling.rollout.stable == "release-1"


@pytest.mark.parametrize(
    ("declared", "strategy", "reason"),
    [
        (Declaration(writes=frozenset({"orders/2"}), topology="t"), CANARY, "NoWayBack"),
        (Declaration(writes=frozenset({"orders/2"}), topology="t"), BLUE_GREEN, "NoWayBack"),
        (Declaration(writes=frozenset({"orders/1"}), topology="u"), CANARY, "AnotherTopology"),
    ],
    ids=["a state that stable cannot read", "the same at once", "another topology in a canary"],
)
def test_there_is_no_way_in_without_a_way_back(declared: Declaration, strategy: Strategy, reason: str) -> None:
    rolling = Rolling()
    known = Declaration(reads=frozenset({"orders/1"}), writes=frozenset({"orders/1"}), topology="t")
    order = msgspec.structs.replace(rolling.rollout.processors["order"], declaration=known)
    rolling.rollout = msgspec.structs.replace(rolling.rollout, processors={"order": order})
    rolling.wants(release(2, strategy))
    rolling.look()
    rolling.shadows["order"] = ShadowSeen(revision="order-2", at=rolling.now, declaration=declared)
    rolling.look()
    assert rolling.rollout.last_rollback is not None
    assert rolling.rollout.last_rollback.reason == reason


def test_what_stable_reads_is_asked_for_where_nobody_has_asked_yet() -> None:
    rolling = Rolling()
    order = msgspec.structs.replace(rolling.rollout.processors["order"], declaration=None)
    rolling.rollout = msgspec.structs.replace(rolling.rollout, processors={"order": order})
    rolling.shadows.clear()
    assert RunShadow(processor="order", revision="order-1") in rolling.look()
    rolling.look()
    assert rolling.rollout.processors["order"].declaration == Declaration()
    assert not any(isinstance(one, RunShadow) for one in rolling.look())


def test_another_topology_goes_all_at_once() -> None:
    rolling = Rolling()
    rolling.rollout = msgspec.structs.replace(
        rolling.rollout,
        processors={
            "order": msgspec.structs.replace(
                rolling.rollout.processors["order"], declaration=Declaration(topology="another")
            )
        },
    )
    rolling.wants(release(2, BLUE_GREEN))
    rolling.shares()
    assert rolling.rollout.stable == "release-2"


def two(number: int, strategy: Strategy = CANARY) -> Wanted:
    """A release that changes two processors, of which the second waits for the first."""
    processors = {
        "order": WantedProcessor(revision=f"order-{number}", replicas=2, strategy=strategy),
        "payment": WantedProcessor(revision=f"payment-{number}", replicas=2, strategy=strategy, depends_on=("order",)),
    }
    return Wanted(release=f"release-{number}", processors=processors, partitions=4)


def test_a_processor_waits_for_those_it_depends_on_and_a_release_goes_back_as_one() -> None:
    cluster = PlayedCluster(4, {"payment-2": "shadow"})
    cluster.settle(two(1))
    stages = []
    for _ in range(100):
        cluster.now += 5
        cluster.decide(two(2))
        for name, revision in cluster.moves():
            for which in range(40):
                cluster.control(name, revision)
                cluster.move(name, revision, which)
        stages.append(tuple(one.stage for one in cluster.rollout.processors.values() if one.target))
        if cluster.rollout.phase == "Stable" and cluster.rollout.refused:
            break
    assert ("Stepping", "Shadow") not in stages
    assert ("Moved", "Shadow") in stages
    assert cluster.rollout.refused == "release-2"
    assert (cluster.assigned("order", "order-1"), cluster.assigned("payment", "payment-1")) == (4, 4)
    assert cluster.allowed == {"order": ("order-1",), "payment": ("payment-1",)}


SCALING = Autoscaling(
    lag_threshold=100,
    emergency_lag=5000,
    scale_up=Stabilization(stabilization_window_seconds=0),
    scale_down=Stabilization(stabilization_window_seconds=0),
)


def scaled(rolling: Rolling, lag: int) -> None:
    """Look once with so much lag."""
    rolling.now += 5
    observed = rolling.observe()
    processor = observed.processors.get("order", ProcessorSeen())
    processor = msgspec.structs.replace(processor, load=LoadSeen(at=rolling.now, lag=lag, rate=100.0))
    observed = msgspec.structs.replace(observed, processors={"order": processor})
    rolling.rollout, actions = decide(rolling.rollout, rolling.wanted, observed)
    for action in actions:
        rolling._do(action)


def autoscaled(number: int) -> Wanted:
    return release(number, autoscaling=msgspec.to_builtins(SCALING))


def test_lag_scales_and_a_rollout_freezes_it() -> None:
    rolling = Rolling(replicas=2)
    rolling.wants(autoscaled(1))
    scaled(rolling, 350)
    assert rolling.rollout.processors["order"].replicas == 4
    rolling.shares()
    rolling.wants(autoscaled(2))
    rolling.until_step(1)
    scaled(rolling, 750)
    assert rolling.rollout.processors["order"].replicas == 4
    assert rolling.rollout.processors["order"].target_replicas == 4, "it begins where the lag has brought it"


def test_an_emergency_holds_the_rollout_and_frees_stable() -> None:
    rolling = Rolling(replicas=2)
    rolling.wants(autoscaled(1))
    scaled(rolling, 150)
    rolling.wants(autoscaled(2))
    rolling.until_step(1)
    scaled(rolling, 6000)
    assert rolling.rollout.reason == "EmergencyLag"
    asked = rolling.rollout.processors["order"].asked
    assert asked["order-1"].replicas + asked["order-2"].replicas <= 8
    assert asked["order-1"].replicas >= 6
    scaled(rolling, 3000)
    assert rolling.rollout.reason == "EmergencyLag", "it ends at half of the lag at which it began"
    scaled(rolling, 2000)
    assert rolling.rollout.phase == "Progressing"


def test_a_dry_run_of_scaling_recommends_and_does_nothing() -> None:
    rolling = Rolling(replicas=2)
    dry = msgspec.structs.replace(SCALING, dry_run=True)
    rolling.wants(release(1, replicas=2, autoscaling=msgspec.to_builtins(dry)))
    scaled(rolling, 350)
    order = rolling.rollout.processors["order"]
    assert (order.replicas, order.scaling.replicas) == (2, 4)


def test_gates_are_asked_for_when_they_are_due_and_no_sooner() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    rolling.look(30)
    measured = [one.gate for one in rolling.look(1) if isinstance(one, Measure)]
    assert measured == []
    assert "error-rate" in {one.gate for one in rolling.look(10) if isinstance(one, Measure)}


def test_what_was_asked_for_is_asked_for_again_and_again() -> None:
    rolling = Rolling()
    once, again = rolling.look(), rolling.look()
    assert [one for one in once if isinstance(one, Scale)] == [one for one in again if isinstance(one, Scale)]
    assert Scale(processor="order", revision="order-1", replicas=4, partitions=None) in again


def test_the_memory_survives_the_way_through_the_api_server() -> None:
    rolling = Rolling()
    rolling.wants(release(2))
    rolling.until_step(1)
    stored = msgspec.json.decode(msgspec.json.encode(rolling.rollout), type=Rollout)
    assert stored == rolling.rollout
