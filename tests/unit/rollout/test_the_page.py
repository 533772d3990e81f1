"""What docs/rollouts.md says, held against the code."""

import re
import textwrap
from pathlib import Path

import yaml

from orderflow.runtime.share import SHARE_VARIABLE
from orderflow.spec.reading import parse_resource
from orderflow.spec.rollout import BUILT_IN_GATES, DEFAULT_STEPS
from orderflow_operator.measuring.prometheus import filled_in, selector
from orderflow_operator.rollout import failing, scaling
from orderflow_operator.rollout.gates import BUILT_IN

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "rollouts.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_its_resource_is_one() -> None:
    resource = parse_resource(BLOCKS[0], "rollouts.md")
    assert resource.spec.processors.order.depends_on == ("payment",)


def test_its_sections_fit_into_a_processor() -> None:
    whole = yaml.safe_load(BLOCKS[0])
    for block in BLOCKS[1:]:
        whole["spec"]["processors"]["payment"].update(yaml.safe_load(block))
    processor = parse_resource(yaml.safe_dump(whole), "rollouts.md").spec.processors.payment
    assert [gate.name for gate in processor.gates] == ["lag-growth", "declined"]
    assert processor.autoscaling is not None


def test_its_gates_are_the_built_in_ones() -> None:
    rows = {row[0].strip("`"): row for row in table("Gates")}
    assert tuple(rows) == BUILT_IN_GATES == tuple(BUILT_IN)
    for name, row in rows.items():
        policy = BUILT_IN[name]
        counted = f"{policy.count}, {policy.failure_limit}"
        assert row[3] == (counted if policy.kind == "measured" else str(policy.failure_limit)), name
        if policy.min_samples:
            assert f"at least {policy.min_samples} messages" in row[2]


def test_its_reasons_are_those_of_the_code() -> None:
    code = Path(failing.__file__).read_text(encoding="utf-8")
    known = set(re.findall(r'"((?:[A-Z][a-z]+)+)"', code)) - {"Waiting", "Moved"}
    assert {row[0].strip("`") for row in table("What takes a release back")} == known | {"Aborted"}


def test_its_numbers_are_those_of_the_code() -> None:
    assert failing.RESTARTS == 2
    assert "restarted twice" in PAGE
    assert (scaling.JUDGED_AFTER, scaling.HELPED, scaling.CEILING_LASTS) == (60, 1.05, 1800)
    assert SHARE_VARIABLE in PAGE
    assert [step.set_weight for step in DEFAULT_STEPS if step.set_weight] == [25, 50]


def test_its_query_is_filled_in_as_it_says() -> None:
    selects = selector(namespace="...", name="...", processor="...", revision="...")
    assert f"`{selects}`" in PAGE
    assert "{{" not in filled_in("x{ {{ selector }} }[{{ interval }}]", selects, 30)
