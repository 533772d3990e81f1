"""kopf's part: it watches, and tells what it sees. Nothing else of kopf is used.

Handlers of events leave nothing on the objects, neither annotations nor finalizers. A watch that broke begins with a
listing, which kopf hands on as events without a type, and which says nothing of what is gone: therefore everything is
listed once more after one (see ``listed`` of :func:`registry`).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import kopf
from kopf._cogs.structs.bodies import RawBody
from kopf._cogs.structs.ephemera import AnyMemo
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from orderflow_operator.cluster import PAGE
from orderflow_operator.lease import NAME as LEASE
from orderflow_operator.manifest import PLURALS
from orderflow_operator.names import GROUP, MANAGED_BY, MANAGER, VERSION

MINE: Final = f"{MANAGED_BY}={MANAGER}"

WATCHED: Final = {
    "OrderFlow": (f"{GROUP}/{VERSION}", ""),
    "Deployment": ("apps/v1", MINE),
    "ControllerRevision": ("apps/v1", MINE),
    "Pod": ("v1", MINE),
    "Job": ("batch/v1", MINE),
    "Service": ("v1", MINE),
    "ServiceAccount": ("v1", MINE),
    "PodDisruptionBudget": ("policy/v1", MINE),
    "NetworkPolicy": ("networking.k8s.io/v1", MINE),
    # All of them: a resource may refer to any, and a change of it is a new revision.
    "ConfigMap": ("v1", ""),
    "Secret": ("v1", ""),
}
"""By kind, its API and the label selector of what is watched."""

MONITORING: Final = "monitoring.coreos.com/v1"

Watched = Mapping[str, tuple[str, str]]


def watched(offered: Collection[str]) -> Watched:
    """Return what is watched in a cluster that has the kinds ``offered`` of Prometheus' operator."""
    return WATCHED | {kind: (MONITORING, MINE) for kind in ("PodMonitor",) if kind in offered}


Told = Callable[[str, str | None, Any], None]
"""Takes a kind, what happened (``None`` where it was listed, ``DELETED`` where it is gone), and the object."""


def registry(told: Told, heard: Callable[[], None], kinds: Watched) -> kopf.OperatorRegistry:
    """Return handlers for the events of ``kinds``; ``heard`` is called at each renewal of the lease."""
    handlers = kopf.OperatorRegistry()

    def watch(kind: str) -> None:
        group, _, version = kinds[kind][0].rpartition("/")

        @kopf.on.event(group, version, PLURALS[kind], id=kind, registry=handlers)
        async def handle(type: str | None, body: kopf.Body, **_: object) -> None:  # noqa: A002 - kopf's word
            told(kind, type, dict(body))

    for kind in kinds:
        watch(kind)

    @kopf.on.event("coordination.k8s.io", "v1", "leases", id="Lease", registry=handlers)
    async def renewed(**_: object) -> None:
        heard()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    return handlers


class Forgetful(ResourceMemories):
    """kopf's memory of objects, which keeps none: what handlers of events need ends with the event."""

    async def recall(
        self,
        raw_body: RawBody,
        *,
        memobase: AnyMemo | None = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = False,
    ) -> ResourceMemory:
        """Return a memory for as long as the event is handled."""
        return await super().recall(raw_body, memobase=memobase, noticed_by_listing=noticed_by_listing, ephemeral=True)


def settings(kinds: Watched) -> kopf.OperatorSettings:
    """Return kopf's settings: it posts nothing, scans for nothing, and watches no more than it must."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.watching.chunk_size = PAGE
    for kind, (api, selector) in kinds.items():
        if selector:
            group, _, version = api.rpartition("/")
            chosen.watching.label_selectors[group, version, PLURALS[kind]] = selector
    chosen.watching.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={LEASE}"
    return chosen


def watchers() -> int:
    """Return how many of kopf's watches run: one that ended by itself is not begun again by anybody."""
    return sum(task.get_name().startswith("watcher for ") for task in asyncio.all_tasks())
