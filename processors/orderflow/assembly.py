"""The one place that wires: from a deployment to contexts, providers and workers."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from orderflow.contracts.envelope import Message
from orderflow.providers.faults import CHAOS_FAILURE_RATE, with_chaos
from orderflow.providers.protocol import Provider
from orderflow.providers.simulated import simulated_providers
from orderflow.runtime.context import Context
from orderflow.runtime.database import open_database
from orderflow.runtime.preparing import allow, allow_only
from orderflow.runtime.retention import Keeping
from orderflow.runtime.share import share_of
from orderflow.runtime.worker import Settings
from orderflow.saga.flow import FlowBook
from orderflow.spec.deployment import Deployment
from orderflow.spec.errors import SpecError
from orderflow.spec.products import Product
from orderflow.spec.resource import CONTEXTS, OrderFlow, Retention

CALLS: Mapping[str, tuple[str, ...]] = {
    "payment": ("card",),
    "fulfillment": ("carrier",),
    "notification": ("email", "sms", "push"),
}
"""The providers that each context calls."""


def flow_book(resource: OrderFlow) -> FlowBook:
    """Return the flows that the resource's orders may take."""
    spec = resource.spec
    return FlowBook(spec.flows, spec.default_flow, {tenant.name: tenant.flow for tenant in spec.tenants})


def context_of(name: str, resource: OrderFlow) -> Context[Any]:
    """Return the context ``name`` as the resource configures it; no other context is loaded."""
    module = importlib.import_module(f"orderflow.contexts.{name}")
    context: Context[Any]
    match name:
        case "order":
            context = module.order_context(flow_book(resource))
        case "inventory":
            context = module.inventory_context(resource.spec.inventory.reservation_seconds)
        case _:
            context = getattr(module, name.upper())
    return context


def all_contexts(resource: OrderFlow) -> dict[str, Context[Any]]:
    """Return every context by name."""
    return {name: context_of(name, resource) for name in CONTEXTS}


def providers_of(deployment: Deployment, context: str) -> Mapping[str, Provider]:
    """Return the simulated providers that ``context`` calls.

    Raises:
        SpecError: the environment asks for faults in production.
    """
    wanted = CALLS.get(context, ())
    if not wanted:
        return {}
    if deployment.resource.spec.production and CHAOS_FAILURE_RATE in os.environ:
        raise SpecError(f"{CHAOS_FAILURE_RATE} makes payments fail and is refused where spec.production is true")
    simulation = with_chaos(deployment.resource.spec.outside, os.environ)
    providers = simulated_providers(simulation, deployment.provider_record)
    return {name: providers[name] for name in wanted}


def worker_settings(deployment: Deployment, context: str, instance: str) -> Settings:
    """Return what the worker ``instance`` of ``context`` needs."""
    resource = deployment.resource
    return Settings(
        context=context_of(context, resource),
        instance=instance,
        broker=deployment.broker,
        prefix=deployment.topic_prefix,
        partitions=deployment.partitions,
        database_url=deployment.database_url(context),
        durability=resource.spec.database.durability,
        revision=deployment.revision,
        host=deployment.host,
        port=deployment.port_of(instance, context),
        providers=providers_of(deployment, context),
        prepare=_stocking(resource.spec.products) if context == "inventory" else None,
        dead_letters=resource.spec.dead_letters,
        keeping=_keeping(resource.spec.retention),
        migrates=deployment.migrates,
        share=share_of(os.environ),
    )


def _keeping(retention: Retention) -> Keeping:
    return Keeping(
        inbox=timedelta(days=retention.inbox_days),
        outbox=timedelta(days=retention.outbox_days),
        tasks=timedelta(days=retention.tasks_days),
        decisions=timedelta(days=retention.decisions_days),
        audit_trail=timedelta(days=retention.audit_trail_days),
    )


def _stocking(products: Sequence[Product]) -> Callable[[Connection], Sequence[Message]]:
    from orderflow.contexts.inventory.stocking import seed_products  # noqa: PLC0415 - inventory's worker alone

    return lambda connection: seed_products(connection, products, datetime.now(UTC))


def prepare_databases(
    deployment: Deployment, contexts: Sequence[str] = CONTEXTS, allowed: Sequence[str] = ()
) -> Iterator[str]:
    """Migrate each context's database and let the deployment's revision write; yield each context's name after.

    Args:
        allowed: then these revisions may write, and no others; the deployment's own only if it is among them.

    Raises:
        MigrationFailed: the tables could not be made; the database is as it was.
        sqlalchemy.exc.DBAPIError: a database is away.
    """
    for name in contexts:
        url = deployment.database_url(name)
        engine = open_database(url, deployment.resource.spec.database.durability)
        try:
            if allowed:
                allow_only(name, url, allowed, engine, datetime.now(UTC))
            else:
                allow(name, url, deployment.revision, engine, datetime.now(UTC))
        finally:
            engine.dispose()
        yield name
