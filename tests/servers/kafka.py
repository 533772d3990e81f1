"""A private Kafka: the one that `orderflow up` starts, in a folder of the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orderflow.local.archive import install
from orderflow.local.broker import EmbeddedBroker, RunningBroker
from orderflow.local.ports import free_ports

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orderflow"
"""Kafka's jars and its rehearsed start are good for every session on this machine."""


@contextmanager
def running_kafka(folder: Path, host: str = "127.0.0.1") -> Iterator[RunningBroker]:
    """Run a broker with its data in ``folder``. It can be stopped, killed and started again, on the same port.

    Args:
        host: the address of this machine at which clients find it.

    Raises:
        orderflow.local.errors.LocalError: it could not be started; the text says why and what to do.
    """
    port, controller_port = free_ports(2)
    java = install(CACHE, print)
    broker = EmbeddedBroker(java, folder / "data", port, controller_port, folder / "kafka.log", host)
    with RunningBroker(broker) as running:
        yield running
