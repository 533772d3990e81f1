"""What the documents say, held against the code that they speak of."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
from prometheus_client.metrics import MetricWrapperBase
from sqlalchemy import MetaData

from harness.seen import DOCUMENT as DRILLS
from harness.seen import records, with_tables
from orderflow.assembly import all_contexts, flow_book
from orderflow.cli import main
from orderflow.contracts.failures import Unreadable
from orderflow.gateway.openapi import OPERATIONS
from orderflow.gateway.problems import TITLES
from orderflow.gateway.telemetry import HttpMetrics
from orderflow.providers.record import metadata as provider_tables
from orderflow.runtime.schema import metadata as runtime_tables
from orderflow.runtime.telemetry import Telemetry
from orderflow.saga.flow import BUILT_IN
from orderflow.spec.reading import parse_resource, read_resource
from orderflow.verification import PROMISES

CLONE: Final = Path(__file__).parents[3]
DOCS: Final = CLONE / "docs"
CODE: Final = CLONE / "processors" / "orderflow"
DECISIONS: Final = sorted((DOCS / "decisions").glob("[0-9]*.md"))
DOCUMENTS: Final = sorted([*CLONE.glob("*.md"), *DOCS.rglob("*.md")])


def text_of(name: str) -> str:
    return (CLONE / name).read_text(encoding="utf-8")


def named(path: Path) -> str:
    return str(path.relative_to(CLONE))


def rows(document: str, mark: str) -> list[list[str]]:
    """Return the cells of the table that follows the comment ``mark``, without its head."""
    table = document.partition(f"<!-- {mark} -->\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def anchors(document: str) -> set[str]:
    """Return what a code host makes of the document's headings."""
    headings = re.findall(r"^#+ (.*)$", document, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def described(metrics: object) -> Iterator[tuple[str, str, list[str]]]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            yield name, metric._type or "", list(metric._labelnames)


@pytest.mark.parametrize(
    ("mark", "metrics"),
    [("metrics of runtime/telemetry.py", Telemetry("order")), ("metrics of gateway/telemetry.py", HttpMetrics())],
)
def test_the_tables_of_metrics_are_those_of_the_code(mark: str, metrics: object) -> None:
    table = rows(text_of("docs/operations-local.md"), mark)
    told = [(row[0].strip("`"), row[1], re.findall(r"`(\w+)`", row[2])) for row in table]
    assert told == list(described(metrics))


def test_the_table_of_promises_is_that_of_verify() -> None:
    table = rows(text_of("docs/operations-local.md"), "promises of verification/report.py")
    assert {row[0].strip("`"): row[1] for row in table} == PROMISES


def test_every_log_event_that_is_explained_is_logged_somewhere() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in CODE.rglob("*.py"))
    events = [row[0].strip("`") for row in rows(text_of("docs/operations-local.md"), "log events")]
    assert events
    assert [event for event in events if not re.search(rf'log\.\w+\(\s*"{re.escape(event)}', code)] == []


def test_every_cause_of_a_dead_letter_is_explained() -> None:
    document = text_of("docs/operations-local.md")
    unreadable = {kind.cause for kind in Unreadable.__subclasses__()}
    for cause in {*unreadable, "conflict", "refused", "decide-failed", "data-error", "kills-the-process"}:
        assert f"| `{cause}` |" in document


def test_the_api_page_has_every_operation_and_every_problem() -> None:
    document = text_of("docs/api.md")
    for operation in OPERATIONS:
        assert f"`{operation.method} {operation.path}`" in document
    told = set(re.findall(r"^\| `([a-z-]+)` \| [45]\d\d \|", document, re.MULTILINE))
    assert told == set(TITLES)


def test_the_api_page_has_the_words_of_every_flow() -> None:
    lines = text_of("docs/api.md").splitlines()
    for flow in BUILT_IN:
        line = next(line for line in lines if line.startswith(f"| `{flow.name}` |"))
        assert flow.words is not None
        ends = {flow.words.created, flow.words.completed, flow.words.cancelled}
        assert ends <= set(re.findall(r"\w+", line))
        assert [step.name for step in flow.steps] == line.split("|")[2].strip().split(", ")


def tables() -> list[MetaData]:
    resource = read_resource(CLONE / "manifests" / "quickstart.yaml")
    contexts: list[Any] = list(all_contexts(resource).values())
    return [runtime_tables, provider_tables, *(context.tables for context in contexts)]


def test_the_architecture_page_has_every_table() -> None:
    document = text_of("docs/architecture.md")
    assert [name for metadata in tables() for name in metadata.tables if f"`{name}`" not in document] == []


def test_the_flow_that_is_shown_as_an_example_can_be_declared() -> None:
    example = re.search(r"```yaml\n(.*?)```", text_of("docs/architecture.md"), re.DOTALL)
    assert example is not None
    flows = flow_book(parse_resource(example[1], "example.yaml"))
    assert flows.choose(None, "default").name == "reserve-and-ship"


def test_every_command_that_the_readme_names_is_there() -> None:
    context = click.Context(main)
    for line in re.findall(r"`orderflow ([a-z`, ]+)` \|", text_of("README.md")):
        names = re.split(r"`, `", line)
        group, _, first = names[0].partition(" ")
        if first:
            orders = main.get_command(context, group)
            assert isinstance(orders, click.Group)
            assert {first, *names[1:]} <= set(orders.commands)
        else:
            assert set(names) <= set(main.list_commands(context))


def test_every_decision_has_a_number_of_its_own_and_stands_in_the_list() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in DECISIONS]
    listed = re.findall(r"^\| \[(\d{4})\]\((.+)\) \| (.+) \|$", text_of("docs/decisions/README.md"), re.MULTILINE)
    assert listed == [
        (path.name[:4], path.name, title.removeprefix(f"{path.name[:4]}. "))
        for path, title in zip(DECISIONS, titles, strict=True)
    ]


@pytest.mark.parametrize("decision", DECISIONS, ids=named)
def test_a_decision_is_one_page_with_its_four_parts(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")
    parts = re.findall(r"^\*\*([A-Z][^*]+)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequence", "What would change it"]
    assert len(text.splitlines()) <= 50


def test_the_figures_of_the_drills_are_those_of_their_records() -> None:
    document = DRILLS.read_text(encoding="utf-8")
    assert with_tables(document, records()) == document, "make drills, or: PYTHONPATH=tests python -m harness.seen"


def test_every_drill_that_was_recorded_is_explained() -> None:
    assert set(re.findall(r"<!-- drill (\S+) -->", DRILLS.read_text(encoding="utf-8"))) == set(records())
