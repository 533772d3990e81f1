"""What changes orders: taking one in, and changing one's status. Decided and recorded at once, in one transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from orderflow.contexts.order.reads import order as read_order
from orderflow.contexts.order.reads import view_of
from orderflow.contracts.commands import CreateOrder
from orderflow.contracts.decision import Refused
from orderflow.contracts.envelope import Message
from orderflow.gateway import idempotency
from orderflow.gateway.cache import Cache
from orderflow.gateway.idempotency import Answer, Key, Turns
from orderflow.gateway.invalidation import order_entries
from orderflow.gateway.order_requests import OrderBody, Origin, StatusBody, change_status, create_order
from orderflow.gateway.problems import Problem, not_found, refusal
from orderflow.gateway.requests import body_of, content_hash, decoded, idempotency_key_of, principal_of
from orderflow.gateway.store import Locked, Store
from orderflow.gateway.tracing import Trace, trace_of
from orderflow.runtime.broker import OutboxRow
from orderflow.runtime.clock import Clock
from orderflow.runtime.database import RevisionRemoved
from orderflow.runtime.direct import Applied

log = structlog.get_logger(__name__)

SWEEP_EVERY = 60.0
"""Seconds between looks for expired keys."""

_orders = msgspec.json.Decoder(OrderBody)
_statuses = msgspec.json.Decoder(StatusBody)


class Decides(Protocol):
    """Decides one message in the caller's transaction: :class:`~orderflow.runtime.direct.Direct`."""

    def apply(self, connection: Connection, message: Message, traceparent: str | None = None) -> Applied:
        """Decide and record ``message``."""


class TakesOut(Protocol):
    """Publishes what was committed: :class:`~orderflow.runtime.outgoing.Outgoing`."""

    def hand_over(self, rows: Sequence[OutboxRow], blocked: Mapping[str, set[str]] | None = None) -> None:
        """Take rows that have been committed."""
