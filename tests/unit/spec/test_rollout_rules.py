"""What must hold within what a resource says of rollouts."""

import pytest

from orderflow.spec.errors import SpecError
from orderflow.spec.reading import parse_resource
from orderflow.spec.rollout import Step, seconds_of
from orderflow.spec.rollout_rules import share_of

HEAD = (
    "apiVersion: orderflow.dev/v1alpha1\nkind: OrderFlow\nmetadata: {name: shop}\nspec:\n  processors:\n    payment:\n"
)


def sentence(body: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_resource(HEAD + body, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "      strategy: {canary: {}, blueGreen: {}}\n",
            "strategy: expected exactly one of canary and blueGreen, got canary and blueGreen",
            id="two strategies",
        ),
        pytest.param("      strategy: {}\n", "got none", id="no strategy"),
        pytest.param(
            "      strategy: {canary: {steps: [{setWeight: 10, pause: {}}]}}\n",
            "steps[0]: expected exactly one of setWeight, setPartitions, pause and analysis, got setWeight and pause",
            id="two steps in one",
        ),
        pytest.param(
            "      strategy: {canary: {steps: [{pause: {}}]}}\n",
            "steps[0]: expected setWeight or setPartitions: before it there is nothing to wait for",
            id="nothing to wait for",
        ),
        pytest.param(
            "      strategy: {canary: {steps: [{setPartitions: 3}, {setWeight: 25}]}}\n",
            "steps[1]: expected no fewer partitions than in the step before (3), got 1",
            id="backwards",
        ),
        pytest.param(
            "      strategy: {canary: {steps: [{setPartitions: 5}]}}\n",
            "steps[0].setPartitions: expected at most spec.broker.partitions (4), got 5",
            id="more than there are",
        ),
        pytest.param(
            "      strategy: {canary: {steps: [{setWeight: 50}, {analysis: {gates: [mine]}}]}}\n",
            "steps[1].analysis.gates[0]: there is no gate 'mine'",
            id="an unknown gate",
        ),
        pytest.param(
            "      gates: [{name: mine}]\n", "gates[0].prometheus: missing: 'mine' is no built-in", id="a source"
        ),
        pytest.param(
            '      gates: [{name: mine, prometheus: {address: "http://p", query: x}}]\n',
            "gates[0].thresholdRange: missing: a gate needs thresholdRange, againstStable, or both",
            id="a threshold",
        ),
        pytest.param(
            "      gates: [{name: error-rate, thresholdRange: {min: 2, max: 1}}]\n",
            "gates[0].thresholdRange.min: expected at most max (1), got 2",
            id="an empty range",
        ),
        pytest.param(
            "      gates: [{name: error-rate}, {name: error-rate}]\n",
            "gates[1].name: 'error-rate' stands in gates[0] already",
            id="a gate twice",
        ),
        pytest.param(
            "      autoscaling: {maxReplicas: 5}\n",
            "autoscaling.maxReplicas: expected at most spec.broker.partitions (4), got 5",
            id="more replicas than partitions",
        ),
        pytest.param(
            "      autoscaling: {minReplicas: 3, maxReplicas: 2}\n",
            "autoscaling.minReplicas: expected at most maxReplicas (2), got 3",
            id="no number of replicas",
        ),
        pytest.param(
            "      autoscaling: {lagThreshold: 5, activationLagThreshold: 5}\n",
            "autoscaling.activationLagThreshold: expected less than lagThreshold (5), got 5",
            id="a threshold below its activation",
        ),
        pytest.param(
            "      dependsOn: [payment]\n", "payment.dependsOn: a processor cannot depend on itself", id="on itself"
        ),
        pytest.param(
            "      dependsOn: [order]\n    order: {dependsOn: [payment]}\n",
            "dependsOn: the processors depend on one another in a circle: order -> payment -> order",
            id="in a circle",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(body: str, expected: str) -> None:
    assert expected in sentence(body)


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (Step(set_weight=25), 2),
        (Step(set_weight=1), 1),
        (Step(set_weight=31), 2),
        (Step(set_weight=32), 3),
        (Step(set_weight=100), 8),
        (Step(set_partitions=3), 3),
    ],
    ids=repr,
)
def test_a_weight_is_whole_partitions_and_never_none(step: Step, share: int) -> None:
    assert share_of(step, 8) == share


def test_durations_are_written_as_kubernetes_tools_write_them() -> None:
    assert [seconds_of(text) for text in ("90s", "1h30m", "250ms")] == [90, 5400, 0.25]
