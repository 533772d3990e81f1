"""The supervisor starts everything, keeps it running and leaves nothing behind. The processes here only tell that they
are well; the fork server, the supervisor and the signals are the real ones.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orderflow.local.board import PlainLines
from orderflow.local.errors import LocalError
from orderflow.local.ports import free_ports
from orderflow.local.processes import Program
from orderflow.local.state import Folder, Lock, ProcessStatus, Status
from orderflow.local.up import down, status, up

PROGRAM = Program(
    main="well:main",
    migrate="well:nothing",
    create_topics="well:nothing",
    preload=("well",),
    preload_later=("http.server",),
)

WELL = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from orderflow.spec.deployment import read_deployment

IMPORTED_BY = os.getpid()

def nothing(arguments):
    trouble = Path(__file__).with_name("trouble")
    if trouble.exists():
        print("ERROR", trouble.read_text())
        return 1
    return 0

class Well(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass

def main(arguments):
    command, context, _, _, _, instance = arguments
    assert os.getpid() != IMPORTED_BY and os.getppid() == IMPORTED_BY
    if Path(__file__).with_name(f"sick-{instance}").exists():
        raise RuntimeError(f"{instance} is sick")
    if Path(__file__).with_name(f"deaf-{instance}").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(sys.argv, flush=True)
    ThreadingHTTPServer(("127.0.0.1", read_deployment().ports[instance]), Well).serve_forever()
"""

MANIFEST = """\
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata: {name: shop}
spec:
  broker: {address: "127.0.0.1:1"}
  processors: {payment: {replicas: 2}}
  gateway: {port: %d}
"""


class Shop:
    """A system in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "well.py").write_text(WELL)
        self.manifest = folder / "shop.yaml"
        [port] = free_ports(1)
        self.manifest.write_text(MANIFEST % port)
        self.data = folder / "data"

    def up(self) -> None:
        up(self.manifest, self.data, detach=True, program=PROGRAM, cache=self.data, reporter=PlainLines())

    @property
    def status(self) -> Status:
        return status(self.data)

    def process(self, name: str) -> ProcessStatus:
        return next(one for one in self.status.processes if one.name == name)

    def pid(self, name: str) -> int:
        pid = self.process(name).pid
        assert pid is not None
        return pid

    @property
    def pids(self) -> list[int]:
        """The supervisor and everything that it has started."""
        return [self.status.pid, *(one.pid for one in self.status.processes if one.pid)]


def eventually(condition: Callable[[], bool], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(shop.code))
    yield shop
    down(shop.data)


def test_everything_is_ready_when_up_returns_and_gone_when_down_does(shop: Shop) -> None:
    shop.up()
    assert status(shop.data).running
    assert shop.status.ready
    assert [one.name for one in shop.status.processes if "payment" in one.name] == [
        "payment-0",
        "payment-1",
        "payment-api",
    ]
    assert len(shop.status.processes) == 13
    pids = shop.pids
    assert len(set(pids)) == 14
    assert all(lives(pid) for pid in pids)
    assert down(shop.data) is True
    assert not any(lives(pid) for pid in pids)
    assert not status(shop.data).running
    assert {one.state for one in shop.status.processes} == {"stopped"}
    assert Lock(Folder(shop.data).processes_lock).holder() is None


def test_a_process_shows_under_its_own_name_and_writes_its_own_log(shop: Shop) -> None:
    shop.up()
    words = Path(f"/proc/{shop.pid('payment-1')}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert words[:3] == [b"orderflow", b"run", b"payment"]
    assert words[-2:] == [b"--instance", b"payment-1"]
    log = (shop.data / "logs" / "payment-1.log").read_text()
    assert "'--instance', 'payment-1'" in log


def test_a_killed_process_comes_back_on_its_port(shop: Shop) -> None:
    shop.up()
    before = shop.process("payment-0")
    os.kill(shop.pid("payment-0"), signal.SIGKILL)
    eventually(lambda: shop.process("payment-0").ready and shop.process("payment-0").pid != before.pid)
    after = shop.process("payment-0")
    assert (after.restarts, after.port) == (1, before.port)
    assert shop.process("payment-1").restarts == 0


def test_a_killed_fork_server_takes_its_children_along_and_all_come_back(shop: Shop) -> None:
    shop.up()
    before = shop.pids
    parent = int(Path(f"/proc/{shop.pid('payment-0')}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: not any(lives(pid) for pid in before[1:]))
    eventually(lambda: shop.status.ready and not set(shop.pids[1:]) & set(before))
    assert shop.status.pid == before[0]


def test_nothing_outlives_a_killed_supervisor_and_the_folder_can_be_used_again(shop: Shop) -> None:
    shop.up()
    before = shop.pids
    os.kill(shop.status.pid, signal.SIGKILL)
    shop.up()
    assert not any(lives(pid) for pid in before)
    assert shop.status.ready


def test_one_that_does_not_end_is_ended(shop: Shop) -> None:
    (shop.code / "deaf-payment-api").touch()
    shop.up()
    pid = shop.pid("payment-api")
    down(shop.data)
    assert not lives(pid)
    assert "payment-api has not ended within 5 s: ending it" in (shop.data / "logs" / "supervisor.log").read_text()


def test_one_that_cannot_start_ends_the_whole_with_the_reason(shop: Shop) -> None:
    (shop.code / "sick-payment-1").touch()
    with pytest.raises(LocalError, match=r"^payment-1 does not start: exit status 1: RuntimeError: payment-1 is sick$"):
        shop.up()
    assert not shop.status.running
    assert not any(one.pid for one in shop.status.processes)
    assert Lock(Folder(shop.data).processes_lock).holder() is None


def test_a_preparation_that_fails_ends_the_whole_with_its_sentence(shop: Shop) -> None:
    (shop.code / "trouble").write_text("the database of payment is of no use")
    with pytest.raises(LocalError, match=r"^the database of payment is of no use$"):
        shop.up()
    assert shop.status.processes == ()


def test_one_that_falls_sick_later_is_tried_again_and_again(shop: Shop) -> None:
    shop.up()
    sick = shop.code / "sick-payment-0"
    sick.touch()
    os.kill(shop.pid("payment-0"), signal.SIGKILL)
    eventually(lambda: shop.process("payment-0").restarts > 4)
    assert shop.process("payment-0").detail == "exit status 1: RuntimeError: payment-0 is sick"
    assert not shop.status.ready
    assert shop.status.running
    sick.unlink()
    eventually(lambda: shop.status.ready)


def test_a_second_up_in_the_folder_is_refused_and_leaves_the_first_alone(shop: Shop) -> None:
    shop.up()
    before = shop.pids
    with pytest.raises(LocalError, match=rf"is running already \(pid {before[0]}\)"):
        shop.up()
    assert shop.pids == before


def test_ctrl_c_in_a_terminal_stops_all_of_it_in_order(shop: Shop) -> None:
    code = (
        "from pathlib import Path; from orderflow.local.up import up; from orderflow.local.processes import Program;"
        f"up(Path({str(shop.manifest)!r}), Path({str(shop.data)!r}), cache=Path({str(shop.data)!r}),"
        " program=Program(main='well:main', migrate='well:nothing', create_topics='well:nothing',"
        " preload=('well',), preload_later=()))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if " ready after " in line:
                pids = shop.pids
                process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not any(lives(pid) for pid in pids)
    stops = [line.split(" stopping ")[1] for line in lines if " stopping " in line]
    assert len(stops) == 2
    assert "order-api" in stops[0]
    assert "order-0" in stops[1]
