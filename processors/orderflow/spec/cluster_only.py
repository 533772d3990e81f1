"""What a resource says that only a cluster can use: the operator reads it, and `orderflow up` names what it skips."""

from collections.abc import Iterator
from typing import Final

import msgspec

from orderflow.spec.resource import Broker, Database, Gateway, OrderFlow, Processor, Spec

_ONLY: Final[dict[type[msgspec.Struct], frozenset[str]]] = {
    Spec: frozenset(
        {
            "image",
            "progress_deadline_seconds",
            "pods",
            "monitoring",
            "network_policies",
            "suspend",
            "paused",
            "deletion_policy",
            "revision_history_limit",
        }
    ),
    Gateway: frozenset({"replicas"}),
    Broker: frozenset({"topic_config"}),
    Database: frozenset({"credentials"}),
    Processor: frozenset(field.name for field in msgspec.structs.fields(Processor)) - {"replicas"},
}


def only_in_a_cluster(resource: OrderFlow) -> tuple[str, ...]:
    """Return the paths of the fields that are said and that only a cluster can use."""
    return tuple(_said(resource.spec, "spec"))


def _said(section: msgspec.Struct, path: str) -> Iterator[str]:
    only, plain = _ONLY.get(type(section), frozenset()), type(section)()
    for field in msgspec.structs.fields(section):
        content = getattr(section, field.name)
        if content == getattr(plain, field.name):
            continue
        if field.name in only:
            yield f"{path}.{field.encode_name}"
        elif field.name in {"broker", "database", "gateway", "processors"} or isinstance(content, Processor):
            yield from _said(content, f"{path}.{field.encode_name}")
