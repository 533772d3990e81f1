"""The README, executed: its commands as they are printed, in their order, in one shell beside a running system.

They run in a folder that looks like a fresh clone, with the environment that runs this test. Where somebody listens on
port 8080 already, all of it moves to another port.
"""

import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CLONE: Final = Path(__file__).parents[2]
PORT: Final = "8080"

UP: Final = "make up"
TEST: Final = "make test"
FOLLOW: Final = "orderflow orders watch $ORDER"
SHOW: Final = f"curl http://localhost:{PORT}/api/orders/$ORDER"
TIMELINE: Final = "orderflow orders timeline $ORDER"
GO_BACK: Final = "orderflow orders watch $BACK"
LOADED: Final = "wait %1"
VERIFY: Final = "orderflow verify"
DOWN: Final = "orderflow down"

ENDS_WITH: Final[Mapping[str, int]] = {GO_BACK: 1}
"""The exit statuses that are not 0."""

UP_WITHIN: Final = 300.0
"""Seconds; on a machine that has never done it, Kafka is fetched first."""
COMMAND_WITHIN: Final = 240.0


def commands_of(document: str) -> list[str]:
    """Return the commands in a document's ``bash`` and ``console`` blocks, a line each."""
    commands = []
    for kind, block in re.findall(r"^```(bash|console)\n(.*?)^```", document, re.DOTALL | re.MULTILINE):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        if kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        commands += lines
    return commands


COMMANDS: Final[Sequence[str]] = commands_of((CLONE / "README.md").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Ran:
    """What a command has printed, and its exit status."""

    output: str
    status: int


class Shell:
    """One bash, as a reader of the README has it open; what a command sets is there for the next."""

    _MARK: Final = "--- that was it:"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )

    def run(self, command: str) -> Ran:
        """Run a command and wait for its end; one that takes too long fails the test."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\nprintf '\\n%s %s\\n' '{self._MARK}' $?\n".encode())
        self._process.stdin.flush()
        output, _, status = self._read_to_the_mark(command).rpartition(f"\n{self._MARK} ")
        return Ran(output, int(status))

    def _read_to_the_mark(self, command: str) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + COMMAND_WITHIN
        read = b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not re.search(rf"\n{self._MARK} \d+\n".encode(), read):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    pytest.fail(f"not within {COMMAND_WITHIN:g} s: {command}\n{read.decode(errors='replace')}")
                part = os.read(descriptor, 65_536)
                assert part, f"the shell ended at {command}:\n{read.decode(errors='replace')}"
                read += part
        return read.decode(errors="replace")

    def close(self) -> None:
        """End it, and what it has left running."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@dataclass(frozen=True)
class Reading:
    """What somebody saw who did all that the README says."""

    ran: Mapping[str, Ran]
    processes: Mapping[str, Mapping[str, Any]]
    up_status: int
    up_output: str

    def __getitem__(self, command: str) -> Ran:
        return self.ran[command]


def like_a_clone(folder: Path, port: str) -> None:
    """Make ``folder`` look like a clone in which ``make`` has been run, but with data of its own."""
    for entry in CLONE.iterdir():
        if not entry.name.startswith(".") and entry.name != "manifests":
            (folder / entry.name).symlink_to(entry)
    shutil.copytree(CLONE / "manifests", folder / "manifests")
    quickstart = folder / "manifests" / "quickstart.yaml"
    quickstart.write_text(quickstart.read_text().replace(PORT, port))
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "installed":
            (folder / ".venv" / entry.name).symlink_to(entry)
    # The newest file there is: `make up` has nothing to install.
    (folder / ".venv" / "installed").touch()


def free_port() -> str:
    """Return 8080, or another port where that is taken."""
    for wanted in (int(PORT), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return str(probe.getsockname()[1])
    raise AssertionError("there is no free port")


def wait_until_up(process: "subprocess.Popen[bytes]", log: Path, port: str) -> None:
    """Wait until the system says that it is ready, as its reader would, and has its products."""
    deadline = time.monotonic() + UP_WITHIN
    while not (" ready after " in log.read_text() and has_products(port)):
        assert process.poll() is None, f"`{UP}` has ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"not ready within {UP_WITHIN:g} s:\n{log.read_text()}"
        time.sleep(0.2)


def has_products(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/products", timeout=5) as answer:
            return bool(json.load(answer)["products"])
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    folder, port = tmp_path_factory.mktemp("clone"), free_port()
    like_a_clone(folder, port)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ORDERFLOW_", "CHAOS_"))}
    environment = ours if port == PORT else {**ours, "ORDERFLOW_URL": f"http://127.0.0.1:{port}"}
    log = folder / "up.log"
    with log.open("wb") as out:
        # A group of its own, as in a terminal of its own: Ctrl-C there reaches make and the system alike.
        up = subprocess.Popen(UP.split(), stdout=out, stderr=out, cwd=folder, env=environment, start_new_session=True)
    shell = Shell(folder, environment)
    try:
        wait_until_up(up, log, port)
        yield read_through(shell, up, log, port)
    finally:
        shell.close()
        if up.poll() is None:
            os.killpg(up.pid, signal.SIGINT)
            up.wait(90)


def read_through(shell: Shell, up: "subprocess.Popen[bytes]", log: Path, port: str) -> Reading:
    ran: dict[str, Ran] = {}
    processes: dict[str, Mapping[str, Any]] = {}
    for command in COMMANDS:
        if command in {UP, TEST}:
            continue
        if command == DOWN:
            status = json.loads(shell.run("orderflow status --json").output)
            processes = {process["name"]: process for process in status["processes"]}
        ran[command] = shell.run(command.replace(PORT, port))
        expected = ENDS_WITH.get(command, 0)
        assert ran[command].status == expected, f"{command} ended with {ran[command].status}:\n{ran[command].output}"
    return Reading(ran, processes, up.wait(90), log.read_text())


def test_the_readme_has_the_two_commands_and_the_first_order_as_the_walkthrough_prints_it() -> None:
    order = '{"customerId":"test-1","customerName":"Test","items":[{"productId":"sku-1","quantity":1}]}'
    call = f"curl -X POST http://localhost:8080/api/orders -H \"Content-Type: application/json\" -d '{order}'"
    assert {UP, TEST, call} <= set(COMMANDS)


def test_make_test_runs_these_tests() -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"], cwd=CLONE, capture_output=True, text=True, check=True
    )
    assert re.search(r"pytest .*\btests\b", plan.stdout), plan.stderr


def test_the_first_order_completes(reading: Reading) -> None:
    assert "SHIPPED -> COMPLETED" in reading[FOLLOW].output
    shown = json.loads(reading[SHOW].output[reading[SHOW].output.index("{") :])
    assert shown["status"] == "Completed"
    assert shown["fulfillment"]["trackingNumber"]


def test_its_timeline_names_every_context_that_was_at_work(reading: Reading) -> None:
    timeline = reading[TIMELINE].output
    for context in ("order", "payment", "inventory", "fulfillment", "notification"):
        assert re.search(rf"^\S+ +{context} ", timeline, re.MULTILINE), timeline


def test_an_order_that_the_carrier_rejects_gives_stock_and_money_back_and_is_cancelled(reading: Reading) -> None:
    story = reading[GO_BACK].output
    steps = ["RESERVED -> COMPENSATING", "reserved -> released", "refunding -> refunded", "COMPENSATING -> CANCELLED"]
    places = [story.find(step) for step in steps]
    assert -1 not in places, story
    assert places == sorted(places), story


def test_all_orders_of_a_load_end_though_a_process_is_killed_meanwhile(reading: Reading) -> None:
    assert "100 of 100 orders accepted" in reading[LOADED].output
    payment = reading.processes["payment-0"]
    assert (payment["restarts"], payment["state"]) == (1, "ready")


def test_verify_finds_every_promise_kept(reading: Reading) -> None:
    report = reading[VERIFY].output
    assert "102 orders verified" in report
    assert "FAIL" not in report


def test_down_ends_what_make_up_has_started(reading: Reading) -> None:
    assert reading.up_status == 0, reading.up_output
    assert "stopped" in reading[DOWN].output
