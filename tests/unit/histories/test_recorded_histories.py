"""Today's code decides what was recorded as it was decided then, byte for byte; and a change does not go unnoticed."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.fates import stories
from harness.histories import (
    DECLARED,
    FOLDER,
    SUFFIX,
    Difference,
    History,
    declared,
    decoded,
    differences,
    histories,
    undeclared,
    versions,
)
from harness.pump import all_contexts
from harness.recording import UNKNOWN, Changed, bring_up_to_date
from orderflow.contracts import codec
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.contracts.events import PaymentSucceeded
from orderflow.runtime.context import Context

FILES = sorted(path for path in FOLDER.rglob(f"*{SUFFIX}") if path.name != DECLARED)
SOLD = "payment-first.completed.jsonl"

Contexts = Mapping[str, Context[Any]]


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    return all_contexts()


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder with a single history."""
    (tmp_path / "v1").mkdir()
    shutil.copy(FOLDER / "v1" / SOLD, tmp_path / "v1")
    return tmp_path


def changed(contexts: Contexts) -> Contexts:
    """Code in which an order that was paid is not asked to be reserved."""
    order = contexts["order"]

    def decide(state: Any, shared: Mapping[str, Any], message: Message) -> Decision[Any]:
        decision = order.decide(state, shared, message)
        if isinstance(message, PaymentSucceeded):
            return msgspec.structs.replace(decision, messages=())
        return decision

    return {**contexts, "order": replace(order, decide=decide)}


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_today_decides_as_it_was_decided_then(file: Path, contexts: Contexts) -> None:
    history = decoded(file.read_bytes())
    assert history.file == file.name
    meant = {(found.flow, found.outcome, found.line) for found in declared(file.parent)}
    found = list(differences(history, contexts))
    assert [str(one) for one in found if (one.flow, one.outcome, one.line) not in meant] == []


@pytest.mark.parametrize("version", versions(), ids=lambda path: path.name)
def test_what_is_declared_as_different_is_so_and_says_why(version: Path, contexts: Contexts) -> None:
    found = [found for history in histories(version) for found in differences(history, contexts)]
    said = declared(version)
    assert [msgspec.structs.replace(one, why="") for one in said] == found
    assert [one for one in said if one.why in {"", UNKNOWN}] == []


def test_every_story_is_in_the_newest_version() -> None:
    newest = versions()[-1]
    assert sorted(f"{story.name}{SUFFIX}" for story in stories()) == sorted(
        path.name for path in newest.glob(f"*{SUFFIX}") if path.name != DECLARED
    )


def test_every_message_that_any_context_takes_is_in_a_history(contexts: Contexts) -> None:
    met = {
        (line.context, codec.identify(bytes(line.message)).event_type)
        for history in histories(versions()[-1])
        for line in history.lines
    }
    taken = {
        (name, kind.__name__)
        for name, context in contexts.items()
        for kinds in context.takes.values()
        for kind in kinds
    }
    assert taken - met == set()


@pytest.mark.parametrize("outcome", ["applied", "repeated", "late", "ignored"])
def test_every_outcome_of_a_decision_is_in_a_history(outcome: str) -> None:
    mark = f'"outcome":"{outcome}"'.encode()
    assert any(mark in bytes(line.decision) for history in histories(versions()[-1]) for line in history.lines)


def test_a_changed_decision_is_caught_with_its_flow_its_outcome_and_its_message(contexts: Contexts) -> None:
    history = decoded((FOLDER / "v1" / SOLD).read_bytes())
    (found,) = differences(history, changed(contexts))
    assert (found.flow, found.outcome, found.context) == ("payment-first", "completed", "order")
    assert found.message.startswith("PaymentSucceeded ")
    assert str(found).endswith("of order is decided differently now, in messages")


def test_a_decision_that_fails_now_is_caught(contexts: Contexts) -> None:
    def fail(_state: Any, _shared: Mapping[str, Any], _message: Message) -> Decision[Any]:
        raise ZeroDivisionError

    history = decoded((FOLDER / "v1" / SOLD).read_bytes())
    found = list(differences(history, {**contexts, "payment": replace(contexts["payment"], decide=fail)}))
    assert {one.context for one in found} == {"payment"}
    assert found[0].what == "is not decided any more (ZeroDivisionError)"


def test_a_state_that_cannot_be_read_any_more_is_caught(contexts: Contexts) -> None:
    payment = contexts["payment"]
    unread = replace(payment, aggregate=replace(payment.aggregate, type=Difference))
    history = decoded((FOLDER / "v1" / SOLD).read_bytes())
    found = list(differences(history, {**contexts, "payment": unread}))
    assert [one.what for one in found] == ["has an input that cannot be read (ValidationError)"]


def test_a_change_is_refused_until_somebody_says_that_it_is_meant(
    one: Path, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.recording.all_contexts", lambda: changed(contexts))
    before = (one / "v1" / SOLD).read_bytes()
    with pytest.raises(Changed, match="payment-first, completed, line"):
        bring_up_to_date((), one)
    assert versions(one) == [one / "v1"]

    bring_up_to_date((), one, new_version=True)

    assert versions(one) == [one / "v1", one / "v2"]
    assert (one / "v1" / SOLD).read_bytes() == before
    assert [found.why for found in declared(one / "v1")] == [UNKNOWN]
    assert undeclared(one / "v1", changed(contexts)) == []
    assert len(undeclared(one / "v1", contexts)) == 0, (
        "a difference that is no more is found by the declared ones' test"
    )


def test_what_is_recorded_is_left_alone_and_what_is_missing_is_recorded(one: Path, contexts: Contexts) -> None:
    before = (one / "v1" / SOLD).read_bytes()
    wanted = [story for story in stories() if story.name in {"payment-first.completed", "ship-only.rejected"}]
    assert bring_up_to_date(wanted, one) == ["v1/ship-only.rejected.jsonl"]
    assert (one / "v1" / SOLD).read_bytes() == before
    history: History = decoded((one / "v1" / "ship-only.rejected.jsonl").read_bytes())
    assert len(history.lines) > 10
    assert list(differences(history, contexts)) == []
