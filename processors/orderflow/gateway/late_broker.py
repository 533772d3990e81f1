"""A broker that may come later: the API takes orders without one, and the outbox keeps their messages."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from orderflow.runtime.broker import Broker, OutboxRow, PublishFailed

log = structlog.get_logger(__name__)

RECONNECT_AFTER: Final = 1.0


class Connects(Broker, Protocol):
    """A broker that has to be connected to: :class:`~orderflow.runtime.kafka.KafkaBroker`."""

    def start(self) -> Awaitable[None]:
        """Connect."""

    def stop(self) -> Awaitable[None]:
        """Disconnect."""


class LateBroker:
    """Stands for ``broker`` from the beginning, and connects to it when it is there."""

    def __init__(self, broker: Connects) -> None:
        self._broker = broker
        self._connecting: asyncio.Task[None] | None = None
        self._connected = False

    async def start(self) -> None:
        """Start connecting in the background."""
        self._connecting = asyncio.create_task(self._connect(), name="broker-connect")

    async def stop(self) -> None:
        """Stop connecting, or disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        await self._broker.stop()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """See :class:`~orderflow.runtime.broker.Broker`."""
        self._assert_connected()
        await self._broker.publish(rows)

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """See :class:`~orderflow.runtime.broker.Broker`."""
        self._assert_connected()
        return await self._broker.end_offsets(partitions)

    def _assert_connected(self) -> None:
        if not self._connected:
            raise PublishFailed("the broker was not there yet")

    async def _connect(self) -> None:
        while not self._connected:
            try:
                await self._broker.start()
                self._connected = True
            except (PublishFailed, OSError) as error:
                log.warning("waiting for the broker", error=type(error).__name__)
                with contextlib.suppress(OSError):
                    await self._broker.stop()
                await asyncio.sleep(RECONNECT_AFTER)
