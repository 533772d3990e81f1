"""Brings every process of a system up, keeps each running, and takes all of them down in order.

Up: the broker starts while the fork server imports and the databases are migrated; when the topics are there too, every
processor and API is started at once. Down: APIs first, so that nothing new comes in; then the processors, which finish
what they have begun; the broker last, since they need it for that.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orderflow.local import log_files
from orderflow.local.board import Reporter
from orderflow.local.broker import STOP_PATIENCE, EmbeddedBroker
from orderflow.local.children import Child
from orderflow.local.errors import LocalError, last_line_of
from orderflow.local.keeper import Keeper
from orderflow.local.processes import Process, Program, broker_process, context_processes, job
from orderflow.local.protocol import Fork
from orderflow.local.state import Folder, Kind, Status
from orderflow.spec.deployment import DEPLOYMENT_VARIABLE, Deployment

READY_WITHIN: Final = 180.0
"""Seconds until everything must have been ready once. It takes some ten; a busy machine takes longer."""
PATIENCE: Final[dict[Kind, float]] = {"api": 5.0, "processor": 20.0, "broker": STOP_PATIENCE}
"""Seconds to finish in, by kind, and the order in which they are stopped. A processor's batch takes less than one."""
KILLED_WITHIN: Final = 5.0
SETTLED: Final = 0.1
"""Seconds in which changes are gathered before they are written and shown."""
SHOWN_AT_LEAST: Final = 1.0


@dataclass(frozen=True)
class System:
    """What is to be run. Without ``broker`` one is running elsewhere already."""

    deployment: Deployment
    folder: Folder
    broker: EmbeddedBroker | None
    program: Program


class Supervisor:
    """Runs one system.

    Args:
        lock: the descriptor of the lock that every process holds.
        reporter: told what happens.
        pid: the process id under which this supervisor can be found.
    """

    def __init__(self, system: System, lock: int, reporter: Reporter, pid: int) -> None:
        self._system = system
        self._reporter = reporter
        self._pid = pid
        self._began = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._stop = asyncio.Event()
        self._children: list[Child] = []
        self._tasks: dict[Child, asyncio.Task[None]] = {}
        self._watches: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._up = False
        self._running = True
        self._written: Status | None = None
        self._keeper = Keeper(
            preload=system.program.preload,
            environment={DEPLOYMENT_VARIABLE: str(system.folder.deployment)},
            lock=lock,
            log=system.folder.log("forkserver"),
            say=reporter.say,
        )

    def stop(self) -> None:
        """Take everything down; asked a second time, at once."""
        if self._stop.is_set():
            for child in self._children:
                child.stop()
                child.kill()
        self._stop.set()

    async def run(self) -> None:
        """Run the system until it is told to stop.

        Raises:
            LocalError: it could not be brought up; nothing of it runs any more.
        """
        keeping = self._spawn(self._keeper.serve())
        beside = [
            self._spawn(self._bring_up()),
            self._spawn(self._keep_publishing()),
            self._spawn(log_files.bound(self._system.folder.logs, self._reporter.say)),
        ]
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            for task in (*beside, *self._watches, stopping):
                task.cancel()
            await self._take_down()
            self._keeper.close()
            await asyncio.gather(keeping, *beside, return_exceptions=True)
            self._failed.cancel()
            self._running = self._up = False
            self._publish()

    async def _bring_up(self) -> None:
        system = self._system
        folder, program = system.folder, system.program
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_broker())
                group.create_task(self._job(job(folder, "migrate", program.migrate), "the databases are ready"))
                group.create_task(self._job(job(folder, "topics", program.create_topics), "the topics are ready"))
                # The fork server goes by order: this after both.
                group.create_task(self._keeper.preload_later(program.preload_later))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._start(context_processes(system.deployment, folder, program))
        await self._all_ready()
        self._up = True
        self._publish()
        seconds = time.monotonic() - self._began
        self._reporter.say(f"ready after {seconds:.1f} s: {system.deployment.gateway}")
        self._reporter.ready()

    async def _start_broker(self) -> None:
        broker = self._system.broker
        if broker is None:
            self._reporter.say(f"waiting for the broker at {self._system.deployment.broker}")
            return
        await asyncio.to_thread(broker.prepare)
        self._start([broker_process(broker)])

    def _start(self, processes: Sequence[Process]) -> None:
        for process in processes:
            child = Child(process, self._keeper, self._reporter.say, self._changed.set)
            self._children.append(child)
            self._tasks[child] = self._spawn(child.keep())
            self._watches.append(self._spawn(child.watch()))
        self._changed.set()

    async def _job(self, start: Fork, done: str) -> None:
        began = time.monotonic()
        status = await self._keeper.run(start, lambda _: None)
        if status:
            reason = last_line_of(Path(start.log)).removeprefix("ERROR ")
            raise LocalError(reason if status > 0 else f"{start.name} was ended by signal {-status}")
        self._reporter.say(f"{done} ({time.monotonic() - began:.1f} s)")

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN):
                await asyncio.gather(*(child.ready.wait() for child in self._children))
        except TimeoutError:
            late = next(child.status for child in self._children if not child.ready.is_set())
            reason = late.detail or "it does not answer"
            raise LocalError(f"{late.name} is not ready after {READY_WITHIN:g} s: {reason}") from None

    async def _take_down(self) -> None:
        for kind, patience in PATIENCE.items():
            await self._take_down_all(kind, patience)

    async def _take_down_all(self, kind: Kind, patience: float) -> None:
        going = {child: task for child, task in self._tasks.items() if child.process.kind == kind and not task.done()}
        if not going:
            return
        self._reporter.say(f"stopping {', '.join(child.process.name for child in going)}")
        for child in going:
            child.stop()
        await asyncio.wait(going.values(), timeout=patience)
        for child, task in going.items():
            if not task.done():
                self._reporter.say(f"{child.process.name} has not ended within {patience:g} s: ending it")
                child.kill()
        await asyncio.wait(going.values(), timeout=KILLED_WITHIN)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start something that runs beside the rest and must not fail."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._noticed)
        return task

    def _noticed(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _keep_publishing(self) -> None:
        while True:
            self._publish()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), SHOWN_AT_LEAST)
            await asyncio.sleep(SETTLED)
            self._changed.clear()

    def _publish(self) -> None:
        status = self._status()
        self._reporter.show(status)
        if status == self._written:
            return
        try:
            self._system.folder.write_status(status)
        except OSError as error:
            self._reporter.say(f"the state of the system cannot be written: {error.strerror or error}")
        self._written = status

    def _status(self) -> Status:
        deployment = self._system.deployment
        processes = tuple(child.status for child in self._children)
        return Status(
            name=deployment.name,
            data_dir=deployment.data_dir,
            running=self._running,
            ready=self._up and all(process.ready for process in processes),
            pid=self._pid,
            revision=deployment.revision,
            broker=deployment.broker,
            gateway=deployment.gateway,
            started_at=self._started_at,
            processes=processes,
        )
