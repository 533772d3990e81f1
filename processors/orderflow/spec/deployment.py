"""What a resource comes down to in one place: every address, port and folder, decided once.

Whoever brings the system up writes it to a file; every process of the system gets that file's name, as
``--deployment FILE`` or in the environment, and needs nothing else.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from orderflow.spec.errors import SpecError
from orderflow.spec.resource import CONTEXT_PLACEHOLDER, CONTEXTS, OrderFlow

DEPLOYMENT_VARIABLE: Final = "ORDERFLOW_DEPLOYMENT"
"""The environment variable that names the deployment's file."""
REVISION_VARIABLE: Final = "ORDERFLOW_REVISION"
"""The environment variable that names the revision of the code, where it is not the package's version."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One system in one place.

    Attributes:
        data_dir: the folder for everything that must last, absolute.
        revision: names the code that runs; processors record it with what they decide.
        broker: ``host:port`` of one or more brokers, with commas between.
        databases: the SQLAlchemy URL of each context's database.
        provider_record: the URL of the database that the simulated providers write, and nobody else; ``{provider}`` in
            it stands for each one's name, so that none waits for another's file.
        read_apis: the root (``http://host:port``) of each context's read API; the order's is the order API.
        ports: the port of each process's HTTP server, by the process's name. A processor has health and metrics there.
        resource: what it all follows from.
        host: the address that processors and read APIs listen on.
        migrates: whether a process brings its own database up to date. In a cluster a job does, before.
    """

    data_dir: str
    revision: str
    broker: str
    databases: dict[str, str]
    provider_record: str
    read_apis: dict[str, str]
    ports: dict[str, int]
    resource: OrderFlow
    host: str = "127.0.0.1"
    migrates: bool = True

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.resource.metadata.name

    @property
    def topic_prefix(self) -> str:
        """Stands before every topic's and consumer group's name on the broker."""
        return self.resource.spec.broker.topic_prefix

    @property
    def partitions(self) -> int:
        """How many partitions every topic has."""
        return self.resource.spec.broker.partitions

    @property
    def gateway(self) -> str:
        """The root of the order API."""
        return self.read_apis["order"]

    def port_of(self, process: str, kind: str) -> int:
        """Return the port of a process by its own name, or else by its kind's (``payment``, ``payment-api``).

        On one machine each process has a port of its own; in a cluster all pods of a kind have the same.
        """
        return self.ports[process] if process in self.ports else self.ports[kind]

    def database_url(self, context: str) -> str:
        """Return the SQLAlchemy URL of the database of one of the contexts."""
        return self.databases[context]


def processor_names(resource: OrderFlow, context: str) -> tuple[str, ...]:
    """Return the name of each replica of the context's processor: ``payment-0``, ``payment-1``, ..."""
    return tuple(f"{context}-{number}" for number in range(resource.spec.processors.of(context).replicas))


def api_name(context: str) -> str:
    """Return the name of the process that serves the context's read API; for the order, the order API."""
    return f"{context}-api"


def process_names(resource: OrderFlow) -> tuple[str, ...]:
    """Return the name of every process that needs a port chosen for it: all but the order API, which has its own."""
    processors = [name for context in CONTEXTS for name in processor_names(resource, context)]
    return (*processors, *(api_name(context) for context in CONTEXTS if context != "order"))


def resolve(resource: OrderFlow, *, data_dir: Path, broker: str, ports: Mapping[str, int], revision: str) -> Deployment:
    """Return the deployment of ``resource`` on this machine.

    Args:
        data_dir: where its data goes; made absolute.
        broker: the broker that was started for it; the resource's own ``broker.address`` goes before.
        ports: a port for each of :func:`process_names`.
        revision: see :func:`revision_of`.
    """
    spec = resource.spec
    folder = data_dir.absolute()
    apis = {context: _url("127.0.0.1", ports[api_name(context)]) for context in CONTEXTS if context != "order"}
    return Deployment(
        data_dir=str(folder),
        revision=revision,
        broker=spec.broker.address or broker,
        databases={context: _database(spec.database.url, folder, context) for context in CONTEXTS},
        provider_record=spec.outside.record_url or _sqlite(folder / "providers" / "{provider}.sqlite"),
        read_apis={"order": _url(reachable(spec.gateway.host), spec.gateway.port), **apis},
        ports={**ports, api_name("order"): spec.gateway.port},
        resource=resource,
    )


def revision_of(environment: Mapping[str, str]) -> str:
    """Return the revision that runs: as the environment says, else the package's version."""
    return environment.get(REVISION_VARIABLE) or version("orderflow")


def reachable(host: str) -> str:
    """Return an address at which a server that listens on ``host`` can be reached from the same machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - it is only read


def read_deployment(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Deployment:
    """Return the deployment that ``path``, or else the environment, names.

    Raises:
        SpecError: neither names one, or it cannot be read.
    """
    named = path or environment.get(DEPLOYMENT_VARIABLE)
    if not named:
        raise SpecError(f"which system? Name its deployment with --deployment FILE or {DEPLOYMENT_VARIABLE}")
    try:
        return msgspec.json.decode(Path(named).read_bytes(), type=Deployment)
    except OSError as error:
        raise SpecError(error.strerror or type(error).__name__, file=str(named)) from None
    except msgspec.DecodeError as error:
        raise SpecError(f"no deployment of this version: {error}", file=str(named)) from None


def _database(template: str | None, folder: Path, context: str) -> str:
    if template is not None:
        return template.replace(CONTEXT_PLACEHOLDER, context)
    return _sqlite(folder / "databases" / f"{context}.sqlite")


def _sqlite(file: Path) -> str:
    return f"sqlite:///{file}"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
