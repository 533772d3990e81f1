"""What must hold between the fields of a resource, beyond the type of each."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from orderflow.saga.flow import FlowBook, InvalidFlow
from orderflow.spec.errors import SpecError
from orderflow.spec.resource import CONTEXT_PLACEHOLDER, CONTEXTS, OrderFlow, Spec
from orderflow.spec.rollout_rules import (
    analysis_problems,
    autoscaling_problems,
    dependency_problems,
    gate_problems,
    strategy_problems,
)

DATABASES: Final = ("postgresql", "sqlite")
CACHES: Final = ("redis", "rediss", "unix")


def check(resource: OrderFlow) -> None:
    """Make sure that the resource means something.

    Raises:
        SpecError: it does not; the first thing wrong, by field, without file and line.
    """
    for rule in _RULES:
        for field, reason in rule(resource.spec):
            raise SpecError(reason, field=f"spec.{field}")


Problems = Iterator[tuple[str, str]]


def _replicas(spec: Spec) -> Problems:
    for context in CONTEXTS:
        replicas = spec.processors.of(context).replicas
        if replicas > spec.broker.partitions:
            reason = f"expected at most spec.broker.partitions ({spec.broker.partitions}), got {replicas}"
            yield f"processors.{context}.replicas", f"{reason}: a replica without a partition has nothing to do"


def _rollouts(spec: Spec) -> Problems:
    partitions = spec.broker.partitions
    for context in CONTEXTS:
        processor = spec.processors.of(context)
        if processor.strategy is not None:
            problems = (
                *strategy_problems(processor.strategy, partitions),
                *analysis_problems(processor.strategy, processor.gates),
            )
            yield from _below(f"processors.{context}.strategy", problems)
        if processor.autoscaling is not None:
            yield from _below(
                f"processors.{context}.autoscaling", autoscaling_problems(processor.autoscaling, partitions)
            )
        yield from _below(f"processors.{context}.gates", gate_problems(processor.gates))
    depends_on = {context: spec.processors.of(context).depends_on for context in CONTEXTS}
    yield from _below("processors", dependency_problems(depends_on))


def _below(section: str, problems: Iterable[tuple[str, str]]) -> Problems:
    for field, reason in problems:
        yield (section + field if field.startswith("[") else f"{section}.{field}".rstrip(".")), reason


def _replication(spec: Spec) -> Problems:
    if spec.broker.address is None and spec.broker.replication_factor != 1:
        reason = f"expected 1, got {spec.broker.replication_factor}"
        yield "broker.replicationFactor", f"{reason}: without spec.broker.address there is one broker"


def _addresses(spec: Spec) -> Problems:
    yield from _url("database.url", spec.database.url, DATABASES)
    yield from _url("cache.url", spec.cache.url, CACHES)
    if spec.database.url is not None and CONTEXT_PLACEHOLDER not in spec.database.url:
        yield "database.url", f"expected {CONTEXT_PLACEHOLDER} in it: each context has a database of its own"


def _url(field: str, url: str | None, schemes: Iterable[str]) -> Problems:
    if url is None:
        return
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.partition("+")[0] not in schemes:
        # Not the URL itself: there may be a password in it.
        yield field, f"expected a URL that begins with {' or '.join(f'{known}://' for known in schemes)}"


def _names(spec: Spec) -> Problems:
    yield from _unique("tenants", "name", [tenant.name for tenant in spec.tenants])
    yield from _unique("products", "id", [product.id for product in spec.products])
    yield from _unique("deadLetters.automatic", "cause", [policy.cause for policy in spec.dead_letters.automatic])


def _unique(section: str, field: str, names: list[str]) -> Problems:
    for index, name in enumerate(names):
        first = names.index(name)
        if first < index:
            yield f"{section}[{index}].{field}", f"{name!r} stands in {section}[{first}] already"


def _dead_letters(spec: Spec) -> Problems:
    most = spec.dead_letters.quarantine_after
    for index, policy in enumerate(spec.dead_letters.automatic):
        if policy.attempts > most:
            reason = f"expected at most spec.deadLetters.quarantineAfter ({most}), got {policy.attempts}"
            yield f"deadLetters.automatic[{index}].attempts", reason


def _flows(spec: Spec) -> Problems:
    try:
        FlowBook(spec.flows, spec.default_flow, spec.flow_of_tenant)
    except InvalidFlow as invalid:
        yield _flow_field(spec, invalid.field), invalid.reason


def _flow_field(spec: Spec, field: str) -> str:
    """Return the path of the field: the flows know tenants by name, the resource by place."""
    for index, tenant in enumerate(spec.tenants):
        if field == f"tenants.{tenant.name}":
            return f"tenants[{index}].flow"
    return field


def _retention(spec: Spec) -> Problems:
    times = spec.retention
    for field, days in (("inboxDays", times.inbox_days), ("outboxDays", times.outbox_days)):
        if days <= times.topics_days:
            reason = f"expected more than spec.retention.topicsDays ({times.topics_days:g}), got {days:g}"
            yield f"retention.{field}", f"{reason}: what lies on a topic may come again"


def _simulation(spec: Spec) -> Problems:
    if spec.production and spec.simulation is not None:
        yield "simulation", "faults are not simulated where spec.production is true"


_RULES: Final[tuple[Callable[[Spec], Problems], ...]] = (
    _replicas,
    _rollouts,
    _replication,
    _addresses,
    _names,
    _dead_letters,
    _flows,
    _retention,
    _simulation,
)
