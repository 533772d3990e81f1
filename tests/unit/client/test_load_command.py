"""`orderflow load`, as typed, against an order API over HTTP on loopback; without a broker, ends are seen there."""

import contextlib
import os
import pty
import threading
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
import pytest
from click.testing import Result

from orderflow.client.figures import Tally
from orderflow.client.load import load
from orderflow.client.progress import progress
from orderflow.spec.deployment import process_names, resolve
from orderflow.spec.reading import parse_resource


class Api(Protocol):
    url: str
    status: str
    orders: dict[str, dict[str, Any]]
    taken: list[tuple[str, dict[str, Any]]]
    answers: list[tuple[int, object]]


class Command(Protocol):
    def __call__(self, command: click.Command, *arguments: str) -> Result: ...


PROBLEM = {"detail": "the store does not answer", "status": 503}
CATALOGUE = (200, {"products": [{"productId": "sku-9"}]})


def test_it_sends_every_order_and_reports_as_json(command: Command, api: Api) -> None:
    result = command(load, "--rate", "100", "--orders", "20", "--flow", "payment-first", "--url", api.url, "--json")
    assert result.exit_code == 0, result.stderr
    report = msgspec.json.decode(result.stdout)
    assert report["outcomes"] == {"Completed": 20}
    assert (report["accepted"], report["failed"], report["rate_asked"], report["observed"]) == (20, {}, 100.0, "api")
    for name in ("accept_ms", "complete_ms"):
        assert 0 < report[name]["p50"] <= report[name]["p95"] <= report[name]["p99"]
    assert 0 < report["completed_per_second"] <= report["rate_achieved"]
    assert len({key for key, _ in api.taken}) == 20
    assert {body["flow"] for _, body in api.taken} == {"payment-first"}


def test_orders_take_the_products_in_turn(command: Command, api: Api) -> None:
    command(load, "--rate", "100", "--orders", "4", "--url", api.url)
    command(load, "--rate", "100", "--orders", "1", "--url", api.url, "--products", "a, b")
    ordered = [item["productId"] for _, body in api.taken for item in body["items"]]
    assert sorted(ordered[:4]) == ["sku-1", "sku-1", "sku-2", "sku-2"]
    assert ordered[4] == "a"


def test_it_reports_for_people(command: Command, api: Api) -> None:
    api.status = "Cancelled"
    result = command(load, "--rate", "100", "--orders", "2", "--url", api.url)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0][:5] == ["2", "of", "2", "orders", "accepted"]
    assert ["MILLISECONDS", "P50", "P95", "P99"] in lines
    assert ["completion", "-", "-", "-"] in lines
    assert ["Cancelled", "2"] in lines
    assert "seen by asking the API" in result.stdout


def test_orders_that_are_not_accepted_fail_it_by_number_and_reason(command: Command, api: Api) -> None:
    api.answers = [CATALOGUE, (503, PROBLEM), (503, PROBLEM)]
    result = command(load, "--rate", "100", "--orders", "3", "--url", api.url, "--json")
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout)["failed"] == {"503": 2}
    assert result.stderr == (
        "orderflow: 2 of 3 orders were not accepted (503: 2; the first: the store does not answer)\n"
    )


def test_an_answer_without_an_order_is_no_acceptance(command: Command, api: Api) -> None:
    api.answers = [CATALOGUE, (201, {})]
    result = command(load, "--rate", "100", "--orders", "1", "--url", api.url, "--json")
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout)["failed"] == {"unreadable": 1}


def test_orders_that_do_not_end_fail_it_by_number(command: Command, api: Api) -> None:
    api.status = "Paid"
    result = command(load, "--rate", "100", "--orders", "2", "--url", api.url, "--timeout", "0.1", "--json")
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout)["unfinished"] == 2
    assert result.stderr == "orderflow: 2 of 2 accepted orders did not end within 0.1 s\n"


def test_an_empty_catalogue_is_told(command: Command, api: Api) -> None:
    api.answers = [(200, {"products": []})]
    result = command(load, "--rate", "1", "--orders", "1", "--url", api.url)
    assert result.exit_code == 1
    assert "the catalogue is empty" in result.stderr


def test_where_nobody_answers_the_sentence_says_so(command: Command, nobody: str) -> None:
    result = command(load, "--rate", "1", "--orders", "1", "--url", nobody)
    assert (result.exit_code, result.stderr) == (
        1,
        f"orderflow: no order API answers at {nobody}: is the system up? `orderflow up -f manifests/quickstart.yaml`\n",
    )


@pytest.mark.parametrize("arguments", [("--rate", "0", "--orders", "1"), ("--rate", "1", "--orders", "0")])
def test_a_load_of_nothing_is_refused(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(load, *arguments).exit_code == 2


class TestTheSystemItBelongsTo:
    """`run.json` in the data directory says where its API and its broker are."""

    def write(self, folder: Path, gateway: str) -> Path:
        host, port = gateway.removeprefix("http://").split(":")
        resource = parse_resource(
            "{apiVersion: orderflow.dev/v1alpha1, kind: OrderFlow, metadata: {name: x}, "
            f"spec: {{gateway: {{host: {host}, port: {port}}}}}}}",
            "x.yaml",
        )
        ports = dict.fromkeys(process_names(resource), 1)
        # Nothing listens on port 1.
        deployment = resolve(resource, data_dir=folder, broker="127.0.0.1:1", ports=ports, revision="r")
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_bytes(msgspec.json.encode(deployment))
        return folder

    def test_a_broker_that_is_away_is_told(self, command: Command, api: Api, tmp_path: Path) -> None:
        self.write(tmp_path / ".orderflow", api.url)
        result = command(load, "--rate", "1", "--orders", "1")
        assert (result.exit_code, result.stderr) == (
            1,
            "orderflow: no broker with the system's topics answers at 127.0.0.1:1: is the system up?\n",
        )
        assert not api.taken

    def test_another_system_s_orders_are_not_looked_for_at_this_broker(
        self, command: Command, api: Api, nobody: str, tmp_path: Path
    ) -> None:
        folder = self.write(tmp_path / "data", nobody)
        result = command(load, "--rate", "10", "--orders", "1", "--data-dir", str(folder), "--url", api.url, "--json")
        assert result.exit_code == 0, result.stderr
        assert msgspec.json.decode(result.stdout)["observed"] == "api"

    def test_a_data_directory_without_a_system_is_told(self, command: Command, tmp_path: Path) -> None:
        result = command(load, "--rate", "1", "--orders", "1", "--data-dir", str(tmp_path))
        assert (result.exit_code, result.stderr) == (
            1,
            f"orderflow: no system was started in {tmp_path}: `orderflow up` keeps its run.json there\n",
        )


def test_the_progress_bars_are_for_terminals_only(tmp_path: Path) -> None:
    tally = Tally(1.0, [0.0, 1.0])
    tally.accepted(0, "a", 0.1)
    with (tmp_path / "piped").open("w") as piped, progress(2, piped) as show:
        show(tally)
    assert (tmp_path / "piped").read_text() == ""


def test_on_a_terminal_they_show_what_was_answered_and_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    tally = Tally(1.0, [0.0, 1.0])
    tally.accepted(0, "a", 0.1)
    screen, terminal = pty.openpty()
    shown = bytearray()

    def look() -> None:
        with contextlib.suppress(OSError):  # the other side was closed
            while True:
                shown.extend(os.read(screen, 65536))

    reader = threading.Thread(target=look)
    reader.start()
    with os.fdopen(terminal, "w") as stream, progress(2, stream) as show:
        show(tally)
    reader.join()
    os.close(screen)
    assert b"answered" in shown
    assert b"1/2" in shown
