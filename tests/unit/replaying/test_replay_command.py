"""`orderflow replay`: what it asks for, how long it waits, and what it says."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from orderflow.cli import main
from orderflow.replaying import requesting
from orderflow.replaying.outcome import outcome_of, render
from orderflow.runtime import replay_rows
from orderflow.runtime.database import open_database
from orderflow.runtime.replay_report import Finding, PartReport
from orderflow.runtime.replay_rows import Part
from orderflow.runtime.schema import replays
from orderflow.spec.deployment import process_names, resolve
from orderflow.spec.reading import parse_resource

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata: {name: replayed}
spec: {broker: {partitions: 2}}
"""
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAYMENT = [("payment-commands", 0), ("payment-commands", 1)]


@pytest.fixture
def run_json(tmp_path: Path) -> Path:
    """A deployment whose payment database has the table of replays."""
    resource = parse_resource(RESOURCE, "replayed.yaml")
    ports = dict.fromkeys(process_names(resource), 1)
    deployment = resolve(resource, data_dir=tmp_path, broker="b:1", ports=ports, revision="r")
    file = tmp_path / "run.json"
    file.write_bytes(msgspec.json.encode(deployment))
    engine = open_database(deployment.database_url("payment"))
    replays.create(engine)
    engine.dispose()
    return file


def worker(report: PartReport) -> Callable[[Sequence[Part]], None]:
    """Somebody who does every part that is asked for as soon as it is told of."""

    def work(parts: Sequence[Part]) -> None:
        engine = open_database(f"sqlite:///{FOLDER[0]}/databases/payment.sqlite")
        with engine.begin() as connection:
            while part := replay_rows.claim(connection, PAYMENT, "w", NOW):
                part.report = report
                assert replay_rows.note(connection, part, "w", NOW, replay_rows.DONE)
        engine.dispose()

    return work


FOLDER: list[Path] = []


def run(file: Path, *arguments: str) -> Result:
    FOLDER[:] = [file.parent]
    return CliRunner().invoke(
        main, ["replay", "--context", "payment", "--deployment", str(file), "--patience", "0.01", *arguments]
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "LOOK_AGAIN", 0.0)


def asked(file: Path) -> list[dict[str, Any]]:
    engine = open_database(f"sqlite:///{file.parent}/databases/payment.sqlite")
    with engine.begin() as connection:
        rows = [dict(row) for row in connection.execute(replays.select()).mappings()]
    engine.dispose()
    return rows


def test_every_partition_of_every_topic_is_asked_for(run_json: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderflow.replaying.progress.progress", worker(PartReport(read=2, same=2)))
    result = run(run_json, "--from", "2026-03-01", "--to", "2026-03-01T13:00:00Z", "--rate", "7", "--apply")
    assert result.exit_code == 0, result.output
    rows = asked(run_json)
    assert [(row["topic"], row["partition"]) for row in rows] == PAYMENT
    (asked_for,) = {(row["since"], row["until"], row["rate"], row["applies"]) for row in rows}
    assert asked_for == (NOW.replace(hour=0), NOW.replace(hour=13), 7, True)
    assert result.output.splitlines()[-1] == "4 messages read again: 4 are as recorded"


def test_what_differs_ends_it_with_another_status_and_as_json_for_programs(
    run_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderflow.replaying.progress.progress", worker(PartReport(read=1, unlike=1)))
    result = run(run_json, "--json")
    assert result.exit_code == 1
    answer = msgspec.json.decode(result.output)
    assert (answer["ok"], answer["context"], len(answer["parts"])) == (False, "payment", 2)
    assert answer["parts"][0]["report"]["unlike"] == 1


def test_a_topic_that_the_context_does_not_read_is_a_sentence(run_json: Path) -> None:
    result = run(run_json, "--topic", "order-events")
    assert result.exit_code == 1
    assert result.output == "orderflow: payment does not read order-events; it reads payment-commands\n"
    assert asked(run_json) == []


def test_a_database_that_is_not_there_is_a_sentence_and_not_made(run_json: Path) -> None:
    database = run_json.parent / "databases" / "payment.sqlite"
    database.unlink()
    assert run(run_json).output == "orderflow: there is no database of payment yet\n"
    assert not database.exists()


def test_a_database_without_the_table_is_a_sentence(run_json: Path) -> None:
    engine = open_database(f"sqlite:///{run_json.parent}/databases/payment.sqlite")
    replays.drop(engine)
    engine.dispose()
    expected = "orderflow: the database of payment does not take a replay: no such table: replays\n"
    assert run(run_json).output == expected


def test_where_no_worker_runs_it_is_cancelled(run_json: Path) -> None:
    result = run(run_json)
    assert result.exit_code == 1
    assert result.output == "orderflow: no worker of payment has done anything for 0.01 s: is it running?\n"
    assert {row["status"] for row in asked(run_json)} == {replay_rows.CANCELLED}


def test_an_interrupted_one_is_cancelled(run_json: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_parts: Sequence[Part]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orderflow.replaying.progress.progress", interrupted)
    assert "was cancelled" in run(run_json).output
    assert {row["status"] for row in asked(run_json)} == {replay_rows.CANCELLED}


class TestTheText:
    def test_has_a_line_for_each_partition_and_what_has_to_be_looked_at(self) -> None:
        finding = Finding(
            offset=7, verdict="unknown", event_type="RefundPayment", event_id="e", key="o1", detail="is not known"
        )
        text = render(outcome_of("payment", [part(PartReport(read=3, same=2, unknown=1, findings=[finding]))]))
        assert "payment-commands[0]" in text
        assert "unknown: RefundPayment e of o1 at payment-commands[0]@7 is not known" in text
        assert text.splitlines()[-1] == ("0 messages are otherwise than recorded, 1 are unknown: --apply decides them")

    def test_counts_what_it_does_not_name(self) -> None:
        text = render(outcome_of("payment", [part(PartReport(read=3, unlike=3))]))
        assert "and 3 more in payment-commands[0]" in text

    def test_says_what_could_not_be_looked_up_any_more(self) -> None:
        text = render(outcome_of("payment", [part(PartReport(read=3, same=3, outputs_dropped=2))]))
        assert "2 such rows were not there and may have been dropped after their time" in text

    def test_says_what_was_applied(self) -> None:
        text = render(outcome_of("payment", [part(PartReport(read=3, same=2, applied=1), applies=True)]))
        assert text.endswith("3 messages read again: 2 are as recorded, 1 were unknown and are decided now")

    def test_of_one_that_failed_gives_the_reason(self) -> None:
        outcome = outcome_of("payment", [part(PartReport(read=1, reason="the broker gives nothing"), status="failed")])
        assert not outcome.ok
        assert "failed: the broker gives nothing" in render(outcome)
        assert render(outcome).endswith("replay r1 did not come to its end")


def part(report: PartReport, *, status: str = "done", applies: bool = False) -> Part:
    return Part(
        replay_id="r1",
        topic="payment-commands",
        partition=0,
        since=None,
        until=None,
        applies=applies,
        rate=1,
        status=status,
        next_offset=None,
        report=report,
    )
