"""Whatever happens in whatever order: the promises of a rollout."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from harness.played_cluster import Fault, PlayedCluster
from orderflow.spec.rollout import Analysis, Autoscaling, BlueGreen, Canary, Stabilization, Step, Strategy
from orderflow_operator.rollout.model import Command, Rollout, Scale, Verb, Wanted, WantedProcessor

Run = tuple[int, tuple[Wanted, ...], dict[str, Fault]]

FAULTS: tuple[Fault, ...] = ("", "shadow", "never ready", "crashes", "errors", "letters")

STEPS = (
    (),
    (Step(set_weight=25), Step(analysis=Analysis()), Step(set_weight=50), Step(analysis=Analysis())),
    (Step(set_partitions=1), Step(analysis=Analysis(gates=("error-rate",)))),
    (Step(set_weight=100), Step(analysis=Analysis())),
)

AT_ONCE = Stabilization(stabilization_window_seconds=0)
SCALING = Autoscaling(lag_threshold=100, emergency_lag=5000, scale_up=AT_ONCE, scale_down=AT_ONCE)

strategies = st.one_of(
    st.builds(BlueGreen, scale_down_delay_seconds=st.sampled_from((0, 600))).map(lambda one: Strategy(blue_green=one)),
    st.builds(Canary, steps=st.sampled_from(STEPS), max_surge=st.integers(0, 3)).map(lambda one: Strategy(canary=one)),
)


@st.composite
def systems(draw: st.DrawFn) -> tuple[int, dict[str, tuple[Strategy, int, tuple[str, ...]]]]:
    partitions = draw(st.integers(1, 6))
    names = draw(st.sampled_from((("order",), ("order", "payment"))))
    return partitions, {
        name: (
            draw(strategies),
            draw(st.integers(1, partitions)),
            ("order",) if name == "payment" and draw(st.booleans()) else (),
        )
        for name in names
    }


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A system, the releases that are wanted one after the other, and what is wrong with them."""
    partitions, processors = draw(systems())
    faults: dict[str, Fault] = {}
    scaling = draw(st.sampled_from((None, SCALING)))
    releases = []
    for number in range(draw(st.integers(2, 4))):
        changed = {
            name: WantedProcessor(
                revision=f"{name}-{number if number < 2 or draw(st.booleans()) else number - 1}",
                replicas=replicas,
                strategy=strategy,
                depends_on=depends_on,
                autoscaling=scaling,
            )
            for name, (strategy, replicas, depends_on) in processors.items()
        }
        for one in changed.values():
            faults.setdefault(one.revision, draw(st.sampled_from(FAULTS)) if number else "")
        release = "+".join(one.revision for one in changed.values())
        releases.append(Wanted(release=release, processors=changed, partitions=partitions))
    return partitions, tuple(releases), faults


def played(run: Run, data: st.DataObject, length: int) -> None:
    partitions, releases, faults = run
    cluster = PlayedCluster(partitions, faults)
    cluster.settle(releases[0])
    assert cluster.rollout.stable == releases[0].release
    wanted = releases[0]
    for number in range(data.draw(st.integers(0, length), label="length")):
        wanted = happens(cluster, wanted, releases, number, data)
    cluster.data, cluster.command = True, None
    cluster.lags.clear()
    wanted = msgspec.structs.replace(releases[-1], paused=False)
    cluster.settle(wanted)
    ends_well(cluster, wanted, faults)


def happens(
    cluster: PlayedCluster, wanted: Wanted, releases: tuple[Wanted, ...], number: int, data: st.DataObject
) -> Wanted:
    """Let one thing happen, and return what is wanted then."""
    match data.draw(st.sampled_from("ddddmmmmcckrrwsptxl"), label="what"):
        case "d":
            cluster.now += data.draw(st.sampled_from((0.0, 1.0, 15.0)))
            one_authority(cluster, cluster.decide(wanted))
        case "k":  # the operator dies before or after it has recorded, and having done some of it
            recorded = data.draw(st.booleans())
            cluster.decide(wanted, recorded=recorded, done=data.draw(st.integers(0, 4)))
        case "m" | "c":
            everybody_moves(cluster, data)
        case "r":  # one pod alone
            name, revision = data.draw(st.sampled_from(cluster.moves()))
            cluster.move(name, revision, data.draw(st.integers(0, 5)))
        case "w":
            return data.draw(st.sampled_from(releases))
        case "s":  # the status comes back from the API server
            cluster.rollout = msgspec.json.decode(msgspec.json.encode(cluster.rollout), type=Rollout)
        case "p":
            return msgspec.structs.replace(wanted, paused=not wanted.paused)
        case "t":
            cluster.data = not cluster.data
        case "l":
            cluster.lags = dict.fromkeys(cluster.revisions, data.draw(st.sampled_from((0, 150, 400, 9000))))
        case "x":
            verbs: tuple[Verb, ...] = ("promote", "abort", "retry", "resume", "undo")
            cluster.command = Command(id=str(number), verb=data.draw(st.sampled_from(verbs)))
            cluster.verbs.add(cluster.command.verb)
    return wanted


def everybody_moves(cluster: PlayedCluster, data: st.DataObject) -> None:
    for name, revision in cluster.moves():
        cluster.control(name, revision)
        for which in range(data.draw(st.integers(0, 4))):
            cluster.move(name, revision, which)


def one_authority(cluster: PlayedCluster, actions: tuple[object, ...]) -> None:
    scaled = [(one.processor, one.revision) for one in actions if isinstance(one, Scale)]
    assert len(scaled) == len(set(scaled)), "nobody is told two things"


def ends_well(cluster: PlayedCluster, wanted: Wanted, faults: dict[str, Fault]) -> None:
    rollout = cluster.rollout
    assert rollout.phase == "Stable"
    ends_where_it_should(cluster, wanted, faults)
    for name, processor in rollout.processors.items():
        assert cluster.assigned(name, processor.stable) == cluster.partitions
        assert cluster.revisions[name][processor.stable].replicas == processor.replicas
        assert cluster.allowed[name] == (processor.stable,)
        for revision, pods in cluster.revisions[name].items():
            outside = pods.share == 0 or not (pods.replicas or pods.pods)
            assert revision == processor.stable or outside, "only stable is in the group"


def ends_where_it_should(cluster: PlayedCluster, wanted: Wanted, faults: dict[str, Fault]) -> None:
    rollout, verbs = cluster.rollout, cluster.verbs
    strategies = [one.strategy for one in wanted.processors.values()]
    # Only gates find errors, and a person may go past them: with a strategy without analysis, and with `promote`.
    unjudged = "promote" in verbs or any(one.canary is not None and not one.canary.steps for one in strategies)
    for processor in rollout.processors.values():
        assert faults[processor.stable] in ({"", "errors"} if unjudged else {""}), "what failed is not stable"
    healthy = not any(faults[one.revision] for one in wanted.processors.values())
    if healthy and not verbs & {"abort", "undo"}:
        assert rollout.stable == wanted.release, "what is healthy is promoted"
    assert wanted.release in {rollout.stable, rollout.refused}


@given(runs(), st.data())
def test_a_rollout_keeps_its_promises(run: Run, data: st.DataObject) -> None:
    played(run, data, 30)
