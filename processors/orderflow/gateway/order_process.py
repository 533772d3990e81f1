"""The order API's process: its parts, started in order and stopped in the opposite one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from fastapi import FastAPI
from sqlalchemy import func, select

from orderflow.contexts.order import order_context
from orderflow.contracts.topics import ORDER_EVENTS
from orderflow.gateway.accept import MARK_AFTER, OrderCommands, forget_expired_keys
from orderflow.gateway.cache import Cache, MemoryCache
from orderflow.gateway.health import Check, database_checks
from orderflow.gateway.invalidation import Invalidation
from orderflow.gateway.late_broker import LateBroker
from orderflow.gateway.orders import order_api
from orderflow.gateway.queries import CONTEXT, OrderQueries
from orderflow.gateway.redis_cache import RedisCache
from orderflow.gateway.store import Store, StoreUnavailable
from orderflow.gateway.upstreams import Upstreams
from orderflow.runtime.clock import Clock, SystemClock
from orderflow.runtime.database import is_infrastructure_failure, reading
from orderflow.runtime.direct import Direct
from orderflow.runtime.kafka import KafkaBroker
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.preparing import prepare, wait_for_migration
from orderflow.runtime.sampling import Sampling
from orderflow.runtime.schema import decisions
from orderflow.runtime.sql_thread import sql_for
from orderflow.saga.flow import FlowBook
from orderflow.spec.deployment import Deployment

log = structlog.get_logger(__name__)

SWEEP_EVERY: Final = 60.0
"""Seconds between looks for expired idempotency keys. They are replaced on use anyway; this keeps the table small."""

LOOK_AGAIN: Final = 1.0
"""Seconds between looks at a database that was away at the start."""

REMOVED: Final = 78
"""Exit status of a process whose revision has been removed (EX_CONFIG): starting it again does not help."""


class OrderProcess:
    """The order API of one deployment. ``leave`` stops the server; whoever makes one sets it.

    Attributes:
        app: what the server serves; its lifespan starts and stops everything here.
        exit_status: other than 0 if the process ended because it could not go on.
    """

    def __init__(self, deployment: Deployment, flows: FlowBook, instance: str, clock: Clock | None = None) -> None:
        spec = deployment.resource.spec
        self._deployment = deployment
        self._instance = instance
        self._clock = clock or SystemClock()
        self._store = Store(deployment.database_url(CONTEXT), spec.database.durability)
        self._sampling = Sampling()
        self._sql = sql_for(self._store.engine, instance)
        self._broker = LateBroker(KafkaBroker(deployment.broker, deployment.topic_prefix, instance))
        self._outgoing = Outgoing(self._broker, self._store.engine, self._sql, self._clock, mark_after=MARK_AFTER)
        self._cache: Cache = RedisCache(spec.cache.url) if spec.cache.url else MemoryCache()
        self._upstreams = Upstreams({name: root for name, root in deployment.read_apis.items() if name != CONTEXT})
        self._invalidation = Invalidation(
            self._cache, {"bootstrap_servers": deployment.broker, "client_id": instance}, deployment.topic_prefix
        )
        self._prepared = False
        self.exit_status: int = 0
        self.leave: Callable[[], None] = lambda: None
        self.app = self._built(flows, spec.cache.ttl_seconds)

    def _built(self, flows: FlowBook, ttl: float) -> FastAPI:
        commands = OrderCommands(
            store=self._store,
            decides=Direct(order_context(flows), self._clock, self._deployment.revision, self._sampling),
            takes_out=self._outgoing,
            cache=self._cache,
            clock=self._clock,
            leave=self._removed,
        )
        queries = OrderQueries(store=self._store, upstreams=self._upstreams, cache=self._cache, ttl=ttl)
        checks = (*database_checks(self._store, CONTEXT), Check(name="broker", look=self._ask_broker, required=False))
        return order_api(commands, queries, self._store, checks, self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        parts = (self._upstreams, self._broker, self._outgoing, self._invalidation)
        for part in parts:
            await part.start()
        keeping = asyncio.create_task(self._keep_database(), name="database")
        log.info("running", instance=self._instance, revision=self._deployment.revision)
        yield
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        for part in reversed(parts):
            await part.stop()
        await self._cache.close()
        self._sql.close()
        await asyncio.to_thread(self._store.close)
        log.info("stopped", instance=self._instance)

    async def _keep_database(self) -> None:
        """Prepare the database as soon as it is there, and then look after the expired keys."""
        while not self._prepared:
            try:
                self._sampling.kept = await asyncio.to_thread(self._prepare)
                self._prepared = True
            except Exception as error:
                if not is_infrastructure_failure(error):
                    log.error("leaving: the database cannot be prepared", reason=str(error))
                    self.exit_status = 1
                    self.leave()
                    return
                log.warning("waiting for the database", error=type(error).__name__)
                await asyncio.sleep(LOOK_AGAIN)
        while True:
            try:
                await forget_expired_keys(self._store, self._clock.now)
            except StoreUnavailable as error:
                log.warning("expired keys have to wait", reason=str(error))
            await asyncio.sleep(SWEEP_EVERY)

    def _prepare(self) -> int:
        """Bring the database to this revision's tables, and return how many decisions it keeps."""
        url, engine = self._deployment.database_url(CONTEXT), self._store.engine
        if self._deployment.migrates:
            prepare(CONTEXT, url, self._deployment.revision, engine, self._clock.now())
        else:
            wait_for_migration(CONTEXT, engine)
        with reading(engine) as connection:
            return connection.scalar(select(func.count()).select_from(decisions)) or 0

    async def _ask_broker(self) -> None:
        await self._broker.end_offsets([(ORDER_EVENTS, 0)])

    def _removed(self) -> None:
        # Until the database is prepared nobody knows which revisions may write.
        if self._prepared:
            log.error("leaving: this revision has been removed", revision=self._deployment.revision)
            self.exit_status = REMOVED
            self.leave()
