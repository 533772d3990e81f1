"""What the runtime needs to know of a bounded context to run it. Each context's ``__init__`` builds one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, MetaData

from orderflow.contracts.decision import Call, Decision
from orderflow.contracts.envelope import Message
from orderflow.providers.protocol import ProviderAnswer
from orderflow.runtime.rows import Rows

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, kw_only=True)
class SharedRows:
    """Rows that many aggregates' decisions touch: stock levels, windows, catalogue entries.

    They are read inside the transaction, locked in the order of their keys if ``locked``, and written once per batch.

    Attributes:
        rows: how they are kept.
        needs: the keys that deciding this message in this state reads or changes.
        announce: the message that tells others of a row's new content, once per batch in which it changed.
        shown_as: the Faust table that shows the rows' absolute content, if any.
    """

    rows: Rows[Any]
    needs: Callable[[Any, Message], Iterable[str]]
    locked: bool = True
    announce: Callable[[str, Any, Message], Message] | None = None
    shown_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An aggregate that has reached its end: what the telemetry says of it."""

    flow: str
    outcome: str
    started_at: datetime


def _order_id(message: Message) -> str | None:
    return message.order_id or None


@dataclass(frozen=True, kw_only=True)
class Context(Generic[S]):
    """One bounded context.

    Attributes:
        name: ``order``, ``payment``, ...: also its consumer group and the name of its database.
        takes: per topic it reads, the message types that mean something to it. The others pass by.
        decide: pure: the aggregate or ``None``, the shared rows asked for (by key; absent where there is none), and
            the message give the decision. Raises ``Refused`` for what cannot be; anything else it raises is a bug.
        aggregate: how its aggregates are kept.
        is_live: whether the aggregate can still change on its own account: the cache keeps these alone.
        key_of: the aggregate's key for a message; ``None`` where it concerns none.
        prepare: completes a message from the database before it is decided (prices, plans), so that the recorded input
            of the decision is whole.
        answers: per ``provider/operation``, the outcome message for a call and its definitive answer.
        compensations: the commands that undo: they are decided even where the order's earlier messages are parked.
        patience: seconds that a message may wait for others to share its transaction. An order waits for whoever is in
            its flow, so only contexts that merely look on have any.
        parks: whether later messages of an order wait behind one that failed. The order context never parks.
        ended: what to tell the telemetry of an aggregate that has just ended; ``None`` while it lives.
        tables: the context's own tables.
    """

    name: str
    takes: Mapping[str, frozenset[type[Message]]]
    decide: Callable[[S | None, Mapping[str, Any], Message], Decision[S]]
    aggregate: Rows[S]
    tables: MetaData
    is_live: Callable[[S], bool]
    key_of: Callable[[Message], str | None] = _order_id
    shared: SharedRows | None = None
    prepare: Callable[[Connection, Message], Message] | None = None
    answers: Mapping[str, Callable[[Call, ProviderAnswer, datetime], Message]] = field(default_factory=dict)
    compensations: frozenset[type[Message]] = frozenset()
    patience: float = 0.0
    parks: bool = True
    ended: Callable[[S], Ended | None] = lambda _state: None

    @property
    def command_topic(self) -> str:
        """The topic on which the context is addressed; its partition 0 is the anchor."""
        return f"{self.name}-commands"
