"""What the processes in a pod are told: the deployment's file, with what concerns one context alone.

A setting that another context does not read is left out of its file. So a new price list changes inventory's revision
and nobody else's.
"""

from typing import Any, Final

import msgspec

from orderflow.spec.deployment import Deployment
from orderflow.spec.resource import CONTEXT_PLACEHOLDER, CONTEXTS, Database, Gateway, Metadata, OrderFlow, Spec
from orderflow_operator.names import HEALTH_PORT, HTTP_PORT, api_name
from orderflow_operator.sparse import sparse

DATA: Final = "/tmp/orderflow"  # noqa: S108 - the pod's own, and empty at its start
CREDENTIALS: Final = "/etc/orderflow/credentials"
"""The folder of the Secret that ``spec.database.credentials`` names."""

EVERYWHERE: Final = ("broker", "database", "dead_letters", "retention", "logging", "production")
CONCERNS: Final = {
    "order": ("default_flow", "tenants", "flows", "cache"),
    "payment": ("simulation",),
    "inventory": ("inventory", "products"),
    "fulfillment": ("simulation",),
    "notification": ("simulation",),
    "analytics": (),
}
"""The sections of the resource that each context's processes read, besides those that all do."""

PROVIDERS: Final = "providers"
"""Takes the place of a context's name in ``database.url`` for the simulated providers' record."""


def settings_of(resource: OrderFlow, namespace: str, context: str) -> str:
    """Return the deployment's file for the context's pods, without defaults and without the revision."""
    spec, name = resource.spec, resource.metadata.name
    kept = {field: getattr(spec, field) for field in (*EVERYWHERE, *CONCERNS[context])}
    url = _url(spec.database)
    deployment = Deployment(
        data_dir=DATA,
        revision="",
        broker=spec.broker.address or "",
        databases={one: url.replace(CONTEXT_PLACEHOLDER, one) for one in CONTEXTS},
        provider_record=spec.outside.record_url or url.replace(CONTEXT_PLACEHOLDER, PROVIDERS),
        read_apis=_apis(resource, namespace),
        ports={context: HEALTH_PORT, f"{context}-api": HTTP_PORT},
        resource=OrderFlow(
            api_version=resource.api_version,
            kind=resource.kind,
            metadata=Metadata(name=name),
            spec=Spec(gateway=Gateway(host="0.0.0.0", port=HTTP_PORT), **kept),  # noqa: S104 - the pod's own network
        ),
        host="0.0.0.0",  # noqa: S104
        migrates=False,
    )
    return msgspec.json.encode(sparse(deployment), order="sorted").decode()


def file_of(settings: str, revision: str) -> str:
    """Return the file's text for the pods of ``revision``."""
    plain: dict[str, Any] = msgspec.json.decode(settings)
    return msgspec.json.encode({**plain, "revision": revision}, order="sorted").decode()


def _apis(resource: OrderFlow, namespace: str) -> dict[str, str]:
    name, port = resource.metadata.name, resource.spec.gateway.port
    ports = {context: port if context == "order" else HTTP_PORT for context in CONTEXTS}
    return {context: f"http://{api_name(name, context)}.{namespace}.svc:{ports[context]}" for context in CONTEXTS}


def _url(database: Database) -> str:
    url = database.url or ""
    if database.credentials is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}credentials={CREDENTIALS}"
