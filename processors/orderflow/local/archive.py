"""A rehearsal of the embedded Kafka, once per machine, so that every later start is quick.

Java spends most of a start reading and linking classes. A broker that is run once, used a little and stopped leaves
that work in a file (an ahead-of-time cache, JEP 514) from which the next ones take it: measured on two busy cores,
1.4 s to the first connection instead of 3.4 s, and 2.5 s of CPU instead of 4.4 s. A broker without the file runs as
well, only it is there later.
"""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from orderflow.local.broker import EmbeddedBroker, RunningBroker
from orderflow.local.errors import LocalError
from orderflow.local.jars import class_path
from orderflow.local.java import FLAGS, Java, java_executable
from orderflow.local.ports import free_ports

MESSAGES: Final = 200

UNUSED: Final = 30 * 86_400.0
"""Seconds without a start after which an archive, of some 70 MB, is cleared away."""

ATTEMPTS: Final = 2
"""Rehearsals until Kafka is started without one: on a busy machine one was seen to come to nothing."""

PATIENCE: Final = 120.0
"""Seconds for the broker to be used, and to end: it takes six, and ten where every core is busy."""


def install(cache: Path, say: Callable[[str], None]) -> Java:
    """Return a Java that can run the embedded Kafka; the first time this fetches its jars and rehearses.

    Args:
        cache: the folder for what is to be found again.
        say: told before something that takes long.

    Raises:
        LocalError: a package is missing, or a jar is not the one we know.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        java = Java(java_executable(), class_path(cache, say))
    except OSError as error:
        raise LocalError(f"{cache} cannot be used as a cache: {error.strerror or error}") from error
    archive = cache / f"kafka-{_identity(java)}.aot"
    if not archive.exists():
        say("rehearsing Kafka's start (once, some 20 s)")
        _try_to_rehearse(java, archive, say)
    return _archived(java, archive)


def _try_to_rehearse(java: Java, archive: Path, say: Callable[[str], None]) -> None:
    reason: object = "it left nothing behind"
    for _ in range(ATTEMPTS):
        try:
            _rehearse(java, archive)
        except Exception as error:
            reason = error
        if archive.exists():
            return
    # Whatever it is, Kafka runs without.
    say(f"Kafka will start more slowly, the rehearsal failed: {reason}")


def _archived(java: Java, archive: Path) -> Java:
    """Return ``java`` with the archive, if it is there, and clear away those of Javas that are not used any more."""
    if not archive.exists():
        return java
    now = time.time()
    with suppress(OSError):
        os.utime(archive)
        for other in archive.parent.glob("kafka-*.aot"):
            if now - other.stat().st_mtime > UNUSED:
                other.unlink()
    return replace(java, archive=archive)


def _identity(java: Java) -> str:
    """Return what the archive is good for: Java would not use it for anything else."""
    parts = [java.executable, java.executable.stat().st_mtime_ns, *FLAGS]
    parts += [part for jar in java.class_path for part in (jar, jar.stat().st_mtime_ns)]
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:16]


def _rehearse(java: Java, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="rehearsal-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port, controller_port = free_ports(2)
        broker = EmbeddedBroker(java, folder / "kafka", port, controller_port, folder / "kafka.log")
        fresh = folder / archive.name
        # It writes the file when it ends, in a process of its own that it waits for.
        with RunningBroker(broker, broker.rehearsal(fresh), stop_patience=PATIENCE):
            asyncio.run(asyncio.wait_for(_use(broker.address), PATIENCE))
        with suppress(FileNotFoundError):
            fresh.replace(archive)


async def _use(address: str) -> None:
    """Do what a system does: create topics, write, read as a group."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # noqa: PLC0415 - this runs once

    from orderflow.local.topics import create_topics  # noqa: PLC0415

    await create_topics(address, prefix="", partitions=1, replication_factor=1, compacted=("changelog",))
    async with AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True) as producer:
        for number in range(MESSAGES):
            await producer.send_and_wait("order-events", b"%d" % number)
    consumer = AIOKafkaConsumer(
        "order-events", bootstrap_servers=address, group_id="rehearsal", auto_offset_reset="earliest"
    )
    async with consumer:
        await consumer.getone()
