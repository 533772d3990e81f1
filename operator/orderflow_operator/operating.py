"""The operator as a process: one writer, some workers, and kopf's watches, until it is told to stop."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

import kopf
import msgspec
import structlog
from kubernetes.aio.client.api_client import ApiClient

from orderflow_operator.broker import Brokers
from orderflow_operator.cluster import Cluster, ClusterAway, ClusterError, Refused
from orderflow_operator.health import Check, Health
from orderflow_operator.lease import Lease, Lost
from orderflow_operator.metrics import Metrics
from orderflow_operator.names import GROUP, VERSION
from orderflow_operator.reconciler import Reconciler
from orderflow_operator.seen import Key, Seen
from orderflow_operator.watching import MONITORING, Forgetful, registry, settings, watched, watchers
from orderflow_operator.work import LONGEST_WAIT, Work

log = structlog.get_logger(__name__)

WORKERS: Final = 4
"""Resources that are looked at together: a look waits for answers most of its time."""

DEAF_AFTER: Final = 90.0
"""Seconds without a renewal of the lease having been seen: kopf begins a silent watch anew after 70."""

SOON: Final = 5.0
"""Seconds at the most between two tries while the API server is away: when it is back everybody wants to go on."""

SETTLES: Final = 2.0
"""Seconds after the last object of a listing until everything is listed once more."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator is told by its environment.

    Attributes:
        identity: its pod's name.
        pod: its pod's uid.
        namespace: its own, where the lease is.
        namespaces: those that it looks after; none: all.
        image: what pods run whose resource names no image.
        port: of its health and metrics.
    """

    identity: str
    namespace: str
    image: str
    namespaces: tuple[str, ...] = ()
    port: int = 8080
    pod: str = ""


class Operator:
    """One operator. :meth:`run` ends when it is told to stop, or when another operator has taken over."""

    def __init__(self, configuration: Configuration, client: ApiClient) -> None:
        self._configuration = configuration
        self._seen = Seen()
        self._work: Work[Key] = Work()
        self._metrics = Metrics(lambda: len(self._work), lambda: len(self._seen.resources))
        self._cluster = Cluster(client, self._metrics.request)
        self._lease = Lease(self._cluster, configuration.namespace, configuration.identity, pod=configuration.pod)
        self._metrics.leading.set_function(lambda: float(self._lease.held))
        self._health = Health(configuration.port, self._live, self._ready, self._metrics.registry)
        self._stop = asyncio.Event()
        self._standing = "starting"
        self._heard_at = time.monotonic()
        self._watching = False
        self._watched = watched(())
        self._listed: asyncio.TimerHandle | None = None
        self._listing: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Finish what is under way, let go of the lease, and end."""
        self._stop.set()

    async def run(self) -> int:
        """Operate; return the exit status."""
        await self._health.start()
        try:
            return await self._until_stopped(self._operate())
        finally:
            await self._lease.release()
            await self._health.stop()

    async def _until_stopped(self, work: Any) -> int:
        doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
            return 0
        try:
            doing.result()
        except* Lost as lost:
            log.warning("ending", reason=str(lost.exceptions[0]))
        return 1

    async def _operate(self) -> None:
        self._standing = "waiting for the definition of OrderFlow"
        offered = await self._offered()
        self._watched = watched(offered)
        self._standing = "standing by"
        await self._lease.acquire()
        self._standing = "listing"
        await self._list_patiently()
        reconciler = Reconciler(
            self._cluster,
            self._seen,
            Brokers(),
            self._metrics,
            image=self._configuration.image,
            may_write=lambda: self._lease.held,
            offered=offered,
        )
        self._standing = "leading"
        for key in self._seen.resources:
            self._work.add(key)
        async with contextlib.aclosing(reconciler), asyncio.TaskGroup() as together:
            together.create_task(self._lease.keep(), name="lease")
            together.create_task(self._watch(), name="watch")
            for number in range(WORKERS):
                together.create_task(self._look(reconciler), name=f"worker {number}")

    async def _offered(self) -> frozenset[str]:
        """Wait until the cluster knows OrderFlow; return what it knows of Prometheus' operator."""
        while True:
            with contextlib.suppress(ClusterError):
                if "OrderFlow" in await self._cluster.offers(f"{GROUP}/{VERSION}"):
                    return await self._cluster.offers(MONITORING)
            await asyncio.sleep(2.0)

    # Looking

    async def _look(self, reconciler: Reconciler) -> None:
        while True:
            key = await self._work.next()
            began, result, after = time.monotonic(), "done", None
            try:
                after = await reconciler.look(key)
            except ClusterAway as error:
                result = "away"
                log.warning("waiting", namespace=key.namespace, name=key.name, reason=str(error))
            except Refused as error:
                result = "outdated" if error.status == 409 else "refused"
                log.warning("refused", namespace=key.namespace, name=key.name, reason=str(error))
            except Exception:
                # Whatever it is, it is this resource's alone: the others go on.
                result = "failed"
                log.exception("failed", namespace=key.namespace, name=key.name)
            self._metrics.reconciles.labels(result).inc()
            self._metrics.seconds.observe(time.monotonic() - began)
            longest = SOON if result == "away" else LONGEST_WAIT
            self._work.done(key, failed=result != "done", after=after, longest=longest)

    # Watching

    async def _watch(self) -> None:
        self._watching = True
        namespaces = self._configuration.namespaces
        await kopf.operator(
            registry=registry(self._told, self._heard, self._watched),
            settings=settings(self._watched),
            memories=Forgetful(),
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
        )
        if not self._stop.is_set():
            # kopf has taken the signal, or could not go on.
            self._stop.set()

    def _told(self, kind: str, happened: str | None, body: Any) -> None:
        if happened is None:
            self._list_soon()
        concerned = self._seen.drop(kind, body) if happened == "DELETED" else self._seen.put(kind, body)
        for key in concerned:
            self._work.add(key)

    def _heard(self) -> None:
        self._heard_at = time.monotonic()

    def _list_soon(self) -> None:
        """List everything when the listing that has just been told of is over: it says nothing of what is gone."""
        if self._listed is not None:
            self._listed.cancel()
        self._listed = asyncio.get_running_loop().call_later(SETTLES, self._begin_listing)

    def _begin_listing(self) -> None:
        self._listing = asyncio.create_task(self._list_patiently(), name="listing")

    async def _list_patiently(self) -> None:
        while True:
            try:
                await self._list()
            except ClusterError as error:
                log.warning("cannot list", reason=str(error))
                await asyncio.sleep(SETTLES)
            else:
                return

    async def _list(self) -> None:
        for kind, (api, selector) in self._watched.items():
            listed: list[Key] = []
            for namespace in self._configuration.namespaces or ("",):
                async for item in self._cluster.listed(api, kind, namespace, selector):
                    body = {"apiVersion": api, "kind": kind, **item}
                    listed.append(Key(body["metadata"].get("namespace", ""), body["metadata"]["name"]))
                    self._concern(self._seen.put(kind, body))
            self._concern(self._seen.only(kind, listed))

    def _concern(self, keys: set[Key]) -> None:
        if self._standing == "leading":
            for key in keys:
                self._work.add(key)

    # Health

    def _live(self) -> list[Check]:
        if self._standing != "leading" or not self._watching or not self._lease.held:
            return [Check("watches", ok=True, detail=self._standing)]
        expected = (len(self._watched) + 1) * max(1, len(self._configuration.namespaces))
        running, silent = watchers(), time.monotonic() - self._heard_at
        checks = [Check("watches", ok=running >= expected, detail=f"{running} of {expected}")]
        if self._hears_its_lease():
            checks.append(Check("heard", ok=silent < DEAF_AFTER, detail=f"{silent:.0f} s ago"))
        return checks

    def _hears_its_lease(self) -> bool:
        namespaces = self._configuration.namespaces
        return not namespaces or self._configuration.namespace in namespaces

    def _ready(self) -> list[Check]:
        ready = self._standing in {"leading", "standing by"}
        held = self._standing != "leading" or self._lease.held
        return [Check("standing", ok=ready, detail=self._standing), Check("lease", ok=held)]


def namespaces_of(text: str) -> Sequence[str]:
    """Return the namespaces that a list with commas names."""
    return tuple(one.strip() for one in text.split(",") if one.strip())
