"""The ``OrderFlow`` resource, field by field. Each field is here because something reads it.

``broker.address``, ``database.url`` and ``cache.url`` name servers that are there already. Without them a system runs
on what it brings along: an embedded Kafka, a SQLite file per context, a cache in each process.
"""

from typing import Annotated, Final, Literal

import msgspec

from orderflow.contracts.fields import Id
from orderflow.providers.faults import CarrierFaults, Simulation
from orderflow.runtime.letter_policy import DeadLetterRules
from orderflow.saga.flow import ORDER_TO_DELIVERY, Flow
from orderflow.spec.pods import Image, Monitoring, NetworkPolicies, Pods, Reference, Resources, Variable, VariableSource
from orderflow.spec.products import Product
from orderflow.spec.rollout import Autoscaling, Context, Gate, Shadow, Strategy
from orderflow.spec.section import Section

API_VERSION: Final = "orderflow.dev/v1alpha1"
KIND: Final = "OrderFlow"

CONTEXTS: Final = ("order", "payment", "inventory", "fulfillment", "notification", "analytics")
"""The bounded contexts: each has a processor, a database and a read API."""

CONTEXT_PLACEHOLDER: Final = "{context}"
"""Stands in ``database.url`` for the name of a context."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
"""Up to a year: what is meant to last longer is meant to last for ever, which nothing here does."""

Days = Annotated[float, msgspec.Meta(gt=0, le=36_500)]

_HOST_AND_PORT = r"(\[[0-9a-fA-F:.]+\]|[^\s,:\[\]]+):[0-9]{1,5}"


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who the resource is. Labels and whatever else Kubernetes keeps here are left alone."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Broker(Section, frozen=True, kw_only=True):
    """Kafka. ``address`` is ``host:port`` of one or more brokers, with commas between.

    ``partitions`` is that of every topic. It cannot change once topics exist: orders would move between partitions.
    ``topic_config`` is put on every topic that is created, over what the resource says elsewhere: Kafka's own names and
    values, as in ``min.insync.replicas: "2"``. The operator keeps it so.
    """

    address: Annotated[str, msgspec.Meta(pattern=f"^{_HOST_AND_PORT}(,{_HOST_AND_PORT})*$")] | None = None
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    topic_prefix: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = ""
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=32767)] = 1
    topic_config: dict[str, str] = msgspec.field(default_factory=dict)


class Database(Section, frozen=True, kw_only=True):
    """Where each context keeps what it owns.

    ``url`` has ``{context}`` where the context's name goes, as in ``postgresql+psycopg://me@host/orderflow_{context}``.
    ``durability`` is SQLite's: what ``normal`` has committed survives the end of the process, what ``full`` has
    committed the loss of power too. ``credentials`` is for the operator: a Secret with the keys ``username`` and
    ``password``, which pods read whenever they connect. It is no part of the revision: a new password is used at once,
    and no rollback brings an old one back.
    """

    url: str | None = None
    credentials: Reference | None = None
    durability: Literal["normal", "full"] = "normal"


class Cache(Section, frozen=True, kw_only=True):
    """The read API's cache. ``url`` is a Redis; ``ttl_seconds`` bounds how old an answer can be."""

    url: str | None = None
    ttl_seconds: Seconds = 30.0


class Gateway(Section, frozen=True, kw_only=True):
    """Where the order API listens. ``replicas`` is for the operator: how many pods answer."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Port = 8080
    replicas: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


class Tenant(Section, frozen=True, kw_only=True):
    """A tenant whose orders take a flow of its own, unless they name another."""

    name: Id
    flow: str


class Processor(Section, frozen=True, kw_only=True):
    """How one context is run, and how it is changed.

    ``image``, ``env``, ``env_from`` and ``resources`` are for the operator, and go before or beside what all pods have.

    Attributes:
        depends_on: these processors take a release over before this one begins to.
        strategy: without one, a canary with its default steps.
        gates: change built-in gates or add others.
        autoscaling: without it, ``replicas`` is what runs.
    """

    replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    image: Image | None = None
    env: tuple[Variable, ...] = ()
    env_from: tuple[VariableSource, ...] = ()
    resources: Resources | None = None
    depends_on: tuple[Context, ...] = ()
    strategy: Strategy | None = None
    shadow: Shadow = Shadow()
    gates: tuple[Gate, ...] = ()
    autoscaling: Autoscaling | None = None


class Processors(Section, frozen=True, kw_only=True):
    """The processors, by context."""

    order: Processor = Processor()
    payment: Processor = Processor()
    inventory: Processor = Processor()
    fulfillment: Processor = Processor()
    notification: Processor = Processor()
    analytics: Processor = Processor()

    def of(self, context: str) -> Processor:
        """Return the processor of one of :data:`CONTEXTS`."""
        processor: Processor = getattr(self, context)
        return processor


class Inventory(Section, frozen=True, kw_only=True):
    """``reservation_seconds`` is how long stock is held before the order is asked whether it still needs it."""

    reservation_seconds: Seconds = 900.0


class Retention(Section, frozen=True, kw_only=True):
    """For how many days what was recorded is kept. Whatever a promise still needs stays for longer.

    ``topics_days`` is how long a message may lie on the broker. Kafka deletes whole segments, so it is the topics'
    ``retention.ms`` and ``segment.ms`` together: seven days each, unless somebody has said otherwise. The times of the
    others begin when a row has served: a message was processed or published, a task has ended, a decision was recorded.
    """

    topics_days: Days = 14.0
    inbox_days: Days = 30.0
    outbox_days: Days = 30.0
    tasks_days: Days = 30.0
    decisions_days: Days = 30.0
    audit_trail_days: Days = 365.0


class SimulatedOutside(Simulation, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The simulated providers: their fault switches and, in ``record_url``, the database they keep their record in."""

    record_url: str | None = None


class Logging(Section, frozen=True, kw_only=True):
    """How much the processes write to their logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Spec(Section, frozen=True, kw_only=True):
    """What the system is to be.

    Attributes:
        image: what pods run; the operator's own where it is left out.
        suspend: the operator leaves everything as it is until this is gone.
        paused: rollouts stay at the step at which they are.
        deletion_policy: what becomes of topics when the resource is deleted. Databases are never touched.
        revision_history_limit: how many revisions of a processor are remembered besides those that run.
    """

    image: Image | None = None
    broker: Broker = Broker()
    database: Database = Database()
    cache: Cache = Cache()
    gateway: Gateway = Gateway()
    default_flow: str = ORDER_TO_DELIVERY
    tenants: tuple[Tenant, ...] = ()
    flows: tuple[Flow, ...] = ()
    processors: Processors = Processors()
    progress_deadline_seconds: Seconds = 600.0
    """A rollout that makes no progress for so long goes back."""
    inventory: Inventory = Inventory()
    dead_letters: DeadLetterRules = DeadLetterRules()
    retention: Retention = Retention()
    products: tuple[Product, ...] = ()
    simulation: SimulatedOutside | None = None
    production: bool = False
    logging: Logging = Logging()
    pods: Pods = Pods()
    monitoring: Monitoring = Monitoring()
    network_policies: NetworkPolicies = NetworkPolicies()
    suspend: bool = False
    paused: bool = False
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    revision_history_limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10

    @property
    def outside(self) -> SimulatedOutside:
        """How well the simulated providers are: as said, else as ever, but in production without a fault."""
        if self.simulation is not None:
            return self.simulation
        carrier = CarrierFaults(error_rate=0.0, latency_seconds=(0.0, 0.0)) if self.production else CarrierFaults()
        return SimulatedOutside(carrier=carrier)

    @property
    def flow_of_tenant(self) -> dict[str, str]:
        """The flow of each tenant that has one of its own."""
        return {tenant.name: tenant.flow for tenant in self.tenants}


class OrderFlow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One system."""

    api_version: Literal["orderflow.dev/v1alpha1"]
    kind: Literal["OrderFlow"]
    metadata: Metadata
    spec: Spec = Spec()
