"""`orderflow shadow`: recorded decisions, decided again by this code."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from harness.histories import FOLDER, decoded, kept_decisions
from orderflow import assembly
from orderflow.cli import main
from orderflow.contracts import codec
from orderflow.runtime.context import Context
from orderflow.runtime.database import open_database
from orderflow.runtime.schema import decisions
from orderflow.shadowing.declaring import declaration
from orderflow.spec.deployment import Deployment, process_names, resolve
from orderflow.spec.reading import parse_resource

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata: {name: shadowed}
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment whose payment database has the decisions of one story."""
    resource = parse_resource(RESOURCE, "shadowed.yaml")
    folder = tmp_path_factory.mktemp("shadowed")
    ports = dict.fromkeys(process_names(resource), 1)
    deployment = resolve(resource, data_dir=folder, broker="b:1", ports=ports, revision="r")
    (folder / "run.json").write_bytes(msgspec.json.encode(deployment))
    engine = open_database(deployment.database_url("payment"))
    decisions.create(engine)
    history = decoded((FOLDER / "v1" / "payment-first.completed.jsonl").read_bytes())
    rows = [
        {
            "group": line.context,
            "event_id": codec.identify(kept.message).event_id,
            "key": line.key,
            "message": kept.message,
            "state": kept.state,
            "shared": kept.shared,
            "decision": kept.decision,
            "revision": "old",
            "recorded_at": datetime(2026, 3, 1, tzinfo=UTC),
        }
        for line, kept in kept_decisions(history, assembly.all_contexts(resource))
        if line.context == "payment"
    ]
    with engine.begin() as connection:
        connection.execute(decisions.insert(), rows)
    engine.dispose()
    return deployment


Shadow = Callable[..., Result]


@pytest.fixture
def shadow(deployment: Deployment) -> Shadow:
    def run(*arguments: str) -> Result:
        file = Path(deployment.data_dir) / "run.json"
        return CliRunner().invoke(main, ["shadow", "payment", "--deployment", str(file), *arguments])

    return run


def with_decisions(monkeypatch: pytest.MonkeyPatch, changed: Callable[[Any], Any]) -> None:
    """Have the code of payment decide otherwise."""
    original = assembly.context_of

    def context_of(name: str, resource: Any) -> Context[Any]:
        context = original(name, resource)
        return replace(context, decide=lambda *given: changed(context.decide(*given)))

    monkeypatch.setattr(assembly, "context_of", context_of)


def without_messages(decision: Any) -> Any:
    return msgspec.structs.replace(decision, messages=())


def test_the_same_code_decides_the_same(shadow: Shadow) -> None:
    done = shadow("--json")
    told = msgspec.json.decode(done.stdout)
    assert done.exit_code == 0
    assert (told["compared"], told["differing"], told["fault"]) == (2, 0, "")


def test_code_that_decides_otherwise_is_found(shadow: Shadow, monkeypatch: pytest.MonkeyPatch) -> None:
    with_decisions(monkeypatch, without_messages)
    done = shadow()
    assert done.exit_code == 1
    assert "recorded by old, is decided differently now, in messages" in done.stdout


def test_code_that_cannot_decide_any_more_is_found(shadow: Shadow, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> Any:
        raise ZeroDivisionError

    with_decisions(monkeypatch, fails)
    assert "is not decided any more (ZeroDivisionError)" in shadow("--meant", "ChargeAnswered").stdout


@pytest.mark.parametrize(
    ("meant", "status"),
    [
        (["ChargeAnswered"], 0),
        (["ChargeAnswered=messages,tasks"], 0),
        (["ChargeAnswered=tasks"], 1),
        (["PaymentSucceeded"], 1),
    ],
    ids=["the type", "the part", "another part", "another type"],
)
def test_what_is_meant_may_differ(
    shadow: Shadow, monkeypatch: pytest.MonkeyPatch, meant: list[str], status: int
) -> None:
    with_decisions(monkeypatch, without_messages)
    assert shadow(*(f"--meant={one}" for one in meant)).exit_code == status


def test_only_the_newest_are_looked_at(shadow: Shadow) -> None:
    assert "1 decisions of payment come out as recorded" in shadow("--sample", "1").stdout


def test_a_result_in_a_file_is_a_success_of_the_command_whatever_it_says(
    shadow: Shadow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_decisions(monkeypatch, without_messages)
    assert shadow("--report", str(tmp_path / "word")).exit_code == 0
    told = (tmp_path / "word").read_bytes()
    assert msgspec.json.decode(told)["differing"] > 0
    assert len(told) < 4096, "Kubernetes keeps no more of a container's last word"


def test_every_context_says_what_it_reads_and_writes_and_reads_all_that_it_writes() -> None:
    contexts = assembly.all_contexts(parse_resource(RESOURCE, "shadowed.yaml"))
    for context in contexts.values():
        declared = declaration(context)
        assert set(declared.writes) <= set(declared.reads)
        assert len(msgspec.json.encode(declared)) < 3000
    assert len({declaration(context).topology for context in contexts.values()}) == len(contexts)
    assert "payments/1" in declaration(contexts["payment"]).writes
