"""Which processes a system has, and how each is started."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orderflow.local.broker import EmbeddedBroker
from orderflow.local.protocol import Exec, Fork
from orderflow.local.state import Folder, Kind
from orderflow.spec.deployment import Deployment, api_name, processor_names, reachable
from orderflow.spec.resource import CONTEXTS

BROKER: Final = "kafka"


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the processes of a system run, by the names under which it is imported.

    Attributes:
        main: takes the command line of a processor or an API.
        migrate, create_topics: take the deployment's file, before the first processor starts.
        preload: what these and the processors need, imported once for all.
        preload_later: what the APIs need besides, imported while the databases and topics are seen to.
    """

    main: str = "orderflow.cli:main"
    migrate: str = "orderflow.local.preparation:migrate"
    create_topics: str = "orderflow.local.preparation:create_topics"
    preload: tuple[str, ...] = (
        "uvloop",
        # Faust loads itself bit by bit when it is first used; this is what every processor uses of it.
        "faust.app",
        "faust.app.router",
        "faust.assignor.partition_assignor",
        "faust.fixups.django",
        "faust.stores.memory",
        "faust.tables.objects",
        "faust.topics",
        "faust.transport.drivers.aiokafka",
        "faust.worker",
        "orderflow.runtime.worker",
        "orderflow.assembly",
        *(f"orderflow.contexts.{context}" for context in CONTEXTS),
        "orderflow.local.topics",
    )
    preload_later: tuple[str, ...] = (
        "orderflow.cli",
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.lifespan.on",
        "orderflow.gateway.serve",
        "orderflow.gateway.order_process",
    )


PROGRAM: Final = Program()


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process. ``host`` and ``port`` are where it can be asked for its health."""

    name: str
    kind: Kind
    start: Fork | Exec
    host: str
    port: int


def broker_process(broker: EmbeddedBroker) -> Process:
    """Return the embedded Kafka as a process."""
    start = Exec(name=BROKER, command=tuple(broker.command), log=str(broker.log))
    return Process(name=BROKER, kind="broker", start=start, host="127.0.0.1", port=broker.port)


def job(folder: Folder, name: str, entry: str) -> Fork:
    """Return how to start something that is done once, before the processors."""
    return Fork(name=name, entry=entry, arguments=(str(folder.deployment),), log=str(folder.log(name)))


def context_processes(deployment: Deployment, folder: Folder, program: Program) -> tuple[Process, ...]:
    """Return every processor and every API."""
    return tuple(
        _process(deployment, folder, program, name, kind, (command, context))
        for context in CONTEXTS
        for kind, command, names in _of_context(deployment, context)
        for name in names
    )


def _of_context(deployment: Deployment, context: str) -> Iterator[tuple[Kind, str, tuple[str, ...]]]:
    yield "processor", "run", processor_names(deployment.resource, context)
    yield "api", "api", (api_name(context),)


def _process(
    deployment: Deployment, folder: Folder, program: Program, name: str, kind: Kind, command: tuple[str, ...]
) -> Process:
    arguments = (*command, "--deployment", str(folder.deployment), "--instance", name)
    start = Fork(name=name, entry=program.main, arguments=arguments, log=str(folder.log(name)))
    # Processors and read APIs are for this machine alone; the order API is where the resource says.
    host = reachable(deployment.resource.spec.gateway.host) if name == api_name("order") else "127.0.0.1"
    return Process(name=name, kind=kind, start=start, host=host, port=deployment.ports[name])
