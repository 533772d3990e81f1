"""The alerts fire when they should and stay quiet when they should not: ``alerts/orderflow.yaml`` says when that is."""

import subprocess
from pathlib import Path

import pytest
import yaml

from servers.process import ServerMissing, program

ALERTS = Path(__file__).parents[2] / "charts" / "orderflow" / "rules" / "orderflow.yaml"
SCENES = Path(__file__).with_name("alerts") / "orderflow.yaml"


@pytest.fixture
def promtool() -> str:
    try:
        return program("promtool", "prometheus")
    except ServerMissing as missing:
        pytest.fail(str(missing), pytrace=False)


def test_prometheus_can_read_the_rules(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes.yaml"
    scenes.write_text(SCENES.read_text().replace("RULES", str(ALERTS)))
    done = subprocess.run([promtool, "test", "rules", scenes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_scene_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    looks = [look for scene in yaml.safe_load(SCENES.read_text())["tests"] for look in scene["alert_rule_test"]]
    assert {look["alertname"] for look in looks if look.get("exp_alerts")} == alerts
    assert {look["alertname"] for look in looks if not look.get("exp_alerts")} == alerts
