"""``orderflow up``, ``status`` and ``down``, as functions.

All three know a system by its data directory. Errors are :class:`~orderflow.spec.errors.SpecError` for what is wrong
with the manifest and :class:`~orderflow.local.errors.LocalError` for everything else; either's text is one sentence.
"""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from orderflow.local.archive import install
from orderflow.local.board import Reporter, reporter_for_terminal
from orderflow.local.broker import EmbeddedBroker
from orderflow.local.detached import Request, start_detached
from orderflow.local.errors import LocalError
from orderflow.local.ports import free_ports, refuse_taken_port
from orderflow.local.processes import BROKER, PROGRAM, Program
from orderflow.local.state import Folder, Lock, Status, replace_file
from orderflow.local.supervisor import Supervisor, System
from orderflow.spec.cluster_only import only_in_a_cluster
from orderflow.spec.deployment import process_names, resolve, revision_of
from orderflow.spec.reading import read_resource
from orderflow.spec.resource import OrderFlow

LEAST_DISK: Final = 256 * 1024 * 1024
"""Bytes that must be free: with less, the databases and the broker would soon fill the disk."""
GLANCE: Final = 0.5
"""Seconds that the lock of the supervisor may be held by somebody who only looks; it takes him a moment."""
LEFTOVER_PATIENCE: Final = 30.0
"""Seconds for the processes of a supervisor that was killed to end: they are told to, and finish what they are at."""
DOWN_PATIENCE: Final = 90.0
"""Seconds for everything to stop: the longest that each kind of process is given, and some."""
LAST_MOMENTS: Final = 5.0
"""Seconds for a supervisor that has let go of everything to end."""


def up(
    manifest: Path,
    data_dir: Path,
    *,
    detach: bool = False,
    program: Program = PROGRAM,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> None:
    """Bring a system up and run it until Ctrl-C or SIGTERM; with ``detach`` return when it is ready.

    Args:
        manifest: the file with the ``OrderFlow`` resource.
        data_dir: keeps everything; created if it is not there.
        program: what the processes run.
        cache: for what is to be found again by later starts; by default the user's cache folder.
        reporter: told what happens; by default a live board in a terminal, plain lines otherwise.

    Raises:
        SpecError, LocalError: it cannot be brought up. Nothing of it runs any more.
    """
    resource = read_resource(manifest)
    told = reporter or reporter_for_terminal()
    if unused := only_in_a_cluster(resource):
        told.say(f"left out, as only a cluster can use it: {', '.join(unused)}")
    cache = (cache or default_cache()).absolute()
    folder = Folder(data_dir.absolute())
    try:
        _make(folder)
        if detach:
            request = Request(manifest=str(manifest), data_dir=str(folder.root), cache=str(cache), program=program)
            start_detached(request, told.say)
        else:
            _up(resource, folder, program, cache, told)
    finally:
        told.close()


def status(data_dir: Path) -> Status:
    """Return how the system in ``data_dir`` is; where none runs, how it last was.

    Raises:
        LocalError: there never was one.
    """
    folder = Folder(data_dir.absolute())
    known = folder.read_status()
    if known is None:
        raise LocalError(f"there is no system in {data_dir}: `orderflow up` starts one")
    if Lock(folder.supervisor_lock).holder() is not None:
        return known
    gone = tuple(
        msgspec.structs.replace(process, pid=None, ready=False, state="stopped", lag=None)
        for process in known.processes
    )
    return msgspec.structs.replace(known, running=False, ready=False, processes=gone)


def down(data_dir: Path, patience: float = DOWN_PATIENCE) -> bool:
    """Stop the system in ``data_dir`` and wait for its end; tell whether there was one.

    Raises:
        LocalError: it does not end.
    """
    folder = Folder(data_dir.absolute())
    lock = Lock(folder.supervisor_lock)
    pid = lock.holder()
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not lock.wait_until_free(patience):
            raise LocalError(
                f"the system in {data_dir} has not ended within {patience:g} s: its supervisor is pid {pid}"
            )
    if not Lock(folder.processes_lock).wait_until_free(LEFTOVER_PATIENCE):
        raise LocalError(f"processes of the system in {data_dir} are still there: {_pids(folder)}")
    if pid:
        _wait_for_the_end_of(pid)
    return pid is not None


def default_cache() -> Path:
    """Return the folder for what may be lost and is costly to get again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orderflow"


def _up(resource: OrderFlow, folder: Folder, program: Program, cache: Path, told: Reporter) -> None:
    supervising, processes = Lock(folder.supervisor_lock), Lock(folder.processes_lock)
    try:
        _take(supervising, processes, folder, told.say)
        gateway = resource.spec.gateway
        refuse_taken_port(gateway.host, gateway.port, "spec.gateway.port")
        program = _with_driver(program, resource)
        assert processes.descriptor is not None
        asyncio.run(_supervise(_system(resource, folder, program, cache, told.say), processes.descriptor, told))
    except OSError as error:
        raise LocalError(f"{folder.root} cannot be used: {error.strerror or error}") from error
    finally:
        processes.give_back()
        supervising.give_back()


def _with_driver(program: Program, resource: OrderFlow) -> Program:
    """Return the program with the database's driver among what is imported once for all."""
    if not (resource.spec.database.url or "").startswith("postgresql"):
        return program
    if find_spec("psycopg") is None:
        raise LocalError("psycopg is not installed, which spec.database.url needs: pip install 'orderflow[postgres]'")
    return replace(program, preload=(*program.preload, "psycopg"))


async def _supervise(system: System, lock: int, told: Reporter) -> None:
    supervisor = Supervisor(system, lock, told, os.getpid())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


def _make(folder: Folder) -> None:
    """Make sure that the data directory is there and can be written."""
    try:
        folder.logs.mkdir(parents=True, exist_ok=True)
        replace_file(folder.root / ".writable", b"x" * 4096)
        (folder.root / ".writable").unlink()
        free = shutil.disk_usage(folder.root).free
    except OSError as error:
        raise LocalError(f"nothing can be written to {folder.root}: {error.strerror or error}") from error
    if free < LEAST_DISK:
        raise LocalError(f"only {free >> 20} MB are free where {folder.root} is, {LEAST_DISK >> 20} are needed")


def _take(supervising: Lock, processes: Lock, folder: Folder, say: Callable[[str], None]) -> None:
    if not supervising.take(GLANCE):
        raise LocalError(
            f"the system in {folder.root} is running already (pid {supervising.holder()}): "
            "`orderflow status` shows it, `orderflow down` stops it"
        )
    if processes.take(patience=0):
        return
    say("waiting for the processes of an earlier run to end")
    if not processes.take(LEFTOVER_PATIENCE):
        raise LocalError(f"processes of an earlier run in {folder.root} are still there: {_pids(folder)}")


def _wait_for_the_end_of(pid: int) -> None:
    """Wait for a supervisor that has nothing left to do but to end."""
    deadline = time.monotonic() + LAST_MOMENTS
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            # One that has ended and that its parent has not asked after yet.
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].startswith("Z"):
                return
        except OSError:
            return
        time.sleep(0.01)


def _pids(folder: Folder) -> str:
    known = folder.read_status()
    return ", ".join(f"{one.name} (pid {one.pid})" for one in known.processes if one.pid) if known else "unknown"


def _system(resource: OrderFlow, folder: Folder, program: Program, cache: Path, say: Callable[[str], None]) -> System:
    names = process_names(resource)
    port, controller_port, *ports = free_ports(2 + len(names))
    broker = None
    if resource.spec.broker.address is None:
        broker = EmbeddedBroker(install(cache, say), folder.kafka, port, controller_port, folder.log(BROKER))
    deployment = resolve(
        resource,
        data_dir=folder.root,
        broker=f"127.0.0.1:{port}",
        ports=dict(zip(names, ports, strict=True)),
        revision=revision_of(os.environ),
    )
    replace_file(folder.deployment, msgspec.json.format(msgspec.json.encode(deployment)))
    return System(deployment, folder, broker, program)
