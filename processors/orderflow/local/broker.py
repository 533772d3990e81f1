"""The embedded Kafka: a whole cluster (broker and controller) in one Java process on the loopback interface.

Its data directory is formatted once. What it acknowledged survives the end of its process, however sudden: it is in the
operating system's hands by then.
"""

import base64
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from orderflow.local.errors import LocalError, last_line, last_line_of
from orderflow.local.java import Java
from orderflow.local.lifeline import end_with_parent

FORMAT_PATIENCE: Final = 60.0
START_PATIENCE: Final = 90.0
"""Seconds. It takes two, and some ten where every core is busy."""
STOP_PATIENCE: Final = 30.0
"""Seconds. It writes everything out: half a second, and five with a hundred partitions on a busy disk."""

_LOGGING: Final = Path(__file__).with_name("kafka-log4j2.yaml")

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={data}
# Topics are created before anybody uses them: a name that is spelt wrong creates none.
auto.create.topics.enable=false
# There is one broker, and few groups.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A group's first member does not wait for others.
group.initial.rebalance.delay.ms=0
# A broker that was killed is let in again when its session has timed out: after 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# 128 MB by default, a quarter of the heap.
log.cleaner.dedupe.buffer.size=8388608
"""


@dataclass(frozen=True)
class EmbeddedBroker:
    """One embedded Kafka.

    Attributes:
        folder: for its data, its configuration and its log; one broker at a time.
        port: where clients connect.
        controller_port: where it talks to itself.
        log: where whoever runs :attr:`command` sends its output.
        host: the address of this machine on which clients connect.
    """

    java: Java
    folder: Path
    port: int
    controller_port: int
    log: Path
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self.host}:{self.port}"

    @property
    def command(self) -> list[str]:
        """The command that runs it in the foreground, until SIGTERM."""
        return self._command()

    def _command(self, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={_LOGGING}"
        return self.java.command("kafka.Kafka", str(self._properties), options=(logging, *options))

    def rehearsal(self, archive: Path) -> list[str]:
        """Return the command that runs it and at its end leaves in ``archive`` what it has loaded."""
        return self._command(f"-XX:AOTCacheOutput={archive}")

    def prepare(self) -> None:
        """Write the configuration and, the first time, format the data directory.

        Raises:
            LocalError: the directory cannot be written or formatted.
        """
        data = self.folder / "data"
        try:
            data.mkdir(parents=True, exist_ok=True)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            filled = _PROPERTIES.format(host=self.host, port=self.port, controller_port=self.controller_port, data=data)
            self._properties.write_text(filled, encoding="utf-8")
            # The last thing that formatting writes: without it there is nothing to be lost.
            if not (data / "meta.properties").exists():
                self._format()
        except OSError as error:
            raise LocalError(f"the embedded Kafka cannot use {self.folder}: {error.strerror or error}") from error

    def _format(self) -> None:
        arguments = ("format", "--ignore-formatted", "-t", _cluster_id(), "-c", str(self._properties))
        command = self.java.command("kafka.tools.StorageTool", *arguments, options=("-Dlog4j2.level=ERROR",))
        try:
            done = subprocess.run(  # noqa: S603 - our own Java with our own arguments
                command, capture_output=True, text=True, timeout=FORMAT_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise LocalError(f"the embedded Kafka's data directory took over {FORMAT_PATIENCE:g} s to format") from None
        if done.returncode:
            reason = last_line(done.stderr + done.stdout)
            raise LocalError(f"the embedded Kafka's data directory cannot be formatted: {reason}")

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"


class RunningBroker:
    """The embedded Kafka as a child of this process, from ``with`` to the end of its block.

    Raises:
        LocalError: it could not be started.
    """

    def __init__(
        self, broker: EmbeddedBroker, command: list[str] | None = None, stop_patience: float = STOP_PATIENCE
    ) -> None:
        self.broker = broker
        self._command = command
        self._stop_patience = stop_patience
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever presses Ctrl-C has no time for it to write everything out.
        if kind is KeyboardInterrupt:
            self.kill()
        self.stop()

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it takes connections."""
        self.broker.prepare()
        with self.broker.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the process that then stops its broker in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own Java with our own arguments
                self._command or self.broker.command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one system call
            )
        try:
            wait_for_port(self.broker.port, self._still_there, host=self.broker.host)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it write everything out, and wait for its end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._stop_patience)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            # With whatever it has started itself; it may have ended already.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _still_there(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise LocalError(f"the embedded Kafka has ended: {last_line_of(self.broker.log)}")


def wait_for_port(
    port: int, still_there: Callable[[], None], patience: float = START_PATIENCE, host: str = "127.0.0.1"
) -> None:
    """Wait until somebody takes connections on ``port`` of the address ``host``.

    Args:
        still_there: raises if there is nothing to wait for any more.

    Raises:
        LocalError: nobody did in time.
    """
    deadline = time.monotonic() + patience
    while True:
        still_there()
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise LocalError(f"the embedded Kafka took no connection within {patience:g} s") from None
            time.sleep(0.05)
        else:
            return


def _cluster_id() -> str:
    # Kafka's own form of a UUID: 22 characters of URL-safe base64, the first of which is no hyphen: on a command line
    # it would begin an option.
    while (text := base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
