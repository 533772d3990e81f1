"""Alerts and dashboards ask for metrics that somebody gives."""

import re
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[3]
CHART = CLONE / "charts" / "orderflow"
GIVERS = [
    CLONE / "processors" / "orderflow" / "runtime" / "telemetry.py",
    CLONE / "processors" / "orderflow" / "gateway" / "telemetry.py",
    CLONE / "operator" / "orderflow_operator" / "metrics.py",
]
ASKERS = [*(CHART / "rules").iterdir(), *(CHART / "dashboards").iterdir()]


@pytest.mark.parametrize("asker", ASKERS, ids=lambda file: file.name)
def test_every_metric_that_is_asked_for_is_given(asker: Path) -> None:
    given = set(re.findall(r'"(orderflow_\w+)"', "".join(file.read_text() for file in GIVERS)))
    asked = set(re.findall(r"\borderflow_\w+", asker.read_text()))
    assert asked
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked} <= given
