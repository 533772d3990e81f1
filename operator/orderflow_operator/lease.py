"""One writer at a time: a Lease, as Kubernetes' own controllers have.

Whoever holds it renews it. Who cannot stops writing before anybody else may begin, and goes on if it is still the
holder when the API server is back: nobody else could have taken it meanwhile without that server. Who finds another
holder ends: what it knows is of no more use.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from orderflow_operator.cluster import Cluster, ClusterAway, ClusterError, Refused
from orderflow_operator.manifest import Manifest

log = structlog.get_logger(__name__)

LASTS: Final = 15.0
"""Seconds without a renewal after which another operator takes over."""
RENEWED: Final = 5.0
"""Seconds between renewals: two may fail. They are the requests that an operator at rest makes."""
SAFE: Final = 10.0
"""Seconds after the last renewal for which the holder goes on writing: a request under way has 5 s left."""
NAME: Final = "orderflow-operator"
API: Final = "coordination.k8s.io/v1"


class Lost(Exception):  # noqa: N818 - says what happened
    """Another operator holds the lease."""


class Lease:
    """The lease as this operator sees it.

    Args:
        identity: unique among all operators, also among restarts of one.
        pod: the uid of the pod that is named so, if this runs in one: the lease then goes when the pod does.
        now: the time by which ``renewTime`` is written; other operators only look at whether it changes.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pod: str = "",
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        owner = {"apiVersion": "v1", "kind": "Pod", "name": identity, "uid": pod}
        self._pod: list[Manifest] = [owner] if pod else []
        self._now = now
        self._renewed_at: float | None = None
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0

    @property
    def held(self) -> bool:
        """Whether this operator may write now."""
        return self._renewed_at is not None and _clock() - self._renewed_at < SAFE

    async def acquire(self) -> None:
        """Wait until this operator holds the lease."""
        while True:
            with contextlib.suppress(ClusterAway):
                if await self._try():
                    log.info("leading", identity=self._identity)
                    return
            await asyncio.sleep(RENEWED / 2)

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            Lost: another operator has it.
        """
        while True:
            await asyncio.sleep(RENEWED)
            try:
                if not await self._try():
                    raise Lost("another operator holds the lease")
            except ClusterAway as away:
                log.warning("the lease cannot be renewed", reason=str(away))

    async def release(self) -> None:
        """Let the next operator begin at once, and leave nothing behind if there is none."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        with contextlib.suppress(ClusterError):
            found = await self._cluster.get(API, "Lease", self._namespace, NAME)
            if found is not None and found["spec"].get("holderIdentity") == self._identity:
                await self._cluster.delete(API, "Lease", self._namespace, NAME, found["metadata"]["resourceVersion"])

    async def _try(self) -> bool:
        asked_at = _clock()
        found = await self._cluster.get(API, "Lease", self._namespace, NAME)
        if found is not None and not self._may_take(found):
            return False
        try:
            if found is None:
                await self._cluster.create(self._lease(None))
            else:
                await self._cluster.replace(self._lease(found))
        except Refused as refused:
            if refused.status == 409:  # somebody was faster
                return False
            raise
        self._renewed_at = asked_at
        return True

    def _may_take(self, found: Manifest) -> bool:
        """Tell whether the lease is ours, nobody's, or has not been renewed for as long as it lasts.

        By this machine's clock alone: the holder's may show another time.
        """
        holder = found["spec"].get("holderIdentity", "")
        if holder in {"", self._identity}:
            return True
        seen = (holder, found["metadata"]["resourceVersion"])
        if seen != self._seen:
            self._seen, self._seen_at = seen, _clock()
        return self._renewed_at is None and _clock() - self._seen_at > LASTS

    def _lease(self, found: Manifest | None) -> Manifest:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = found["spec"] if found is not None else {}
        mine = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LASTS),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if mine or not before else 1),
        }
        metadata = dict(found["metadata"]) if found is not None else {"name": NAME, "namespace": self._namespace}
        # It goes with its holder: an operator that is uninstalled has lost its rights before it ends.
        metadata["ownerReferences"] = self._pod
        return {"apiVersion": API, "kind": "Lease", "metadata": metadata, "spec": spec}


def _clock() -> float:
    return asyncio.get_running_loop().time()
