"""Records as the broker delivered them, and what could be read of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orderflow.contracts import codec
from orderflow.contracts.envelope import Message

TRACEPARENT = "traceparent"
NOWHERE = -1
"""Partition and offset of a message that did not come from the broker."""
LONGEST_KEY = 200
"""Of the columns that keep keys."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``topic`` is without the prefix; ``key`` is empty where the record has none."""

    topic: str
    partition: int
    offset: int
    key: str
    raw: bytes
    headers: Mapping[str, str]


def record_of(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
) -> Record:
    """Return what a broker has delivered as a record; ``topic`` is without the prefix."""
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        # What no column holds is no key of ours: NUL, and more than 200 characters.
        key=_text(key)[:LONGEST_KEY],
        raw=value if value is not None else b"",
        headers={name.replace("\0", "\ufffd"): _text(content) for name, content in headers},
    )


def _text(content: bytes | None) -> str:
    """Return what a broker carries as text that every database takes: PostgreSQL has none with NUL."""
    return (content or b"").decode(errors="replace").replace("\0", "\ufffd")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record with its message, or with the reason why there is none.

    Attributes:
        event_id: the message's; for bytes that name none, derived from the bytes, so that a copy is known as one.
        digest: SHA-256 of the bytes, in hex.
        cause: why it cannot be decided (a dead letter's cause); empty for a message.
        reason: the same in a sentence.
        order_id: what bytes that are no message name as their order.
    """

    record: Record
    event_id: str
    digest: str
    message: Message | None
    event_type: str = ""
    cause: str = ""
    reason: str = ""
    order_id: str = ""

    @property
    def key(self) -> str:
        """By which it is ordered: the record's key, or else the message's own. A key no column takes is digested."""
        key = self.record.key or (self.message.key if self.message is not None else self.order_id)
        if len(key) > LONGEST_KEY or "\0" in key:
            return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
        return key

    @property
    def traceparent(self) -> str | None:
        """The trace it belongs to, if it says so."""
        return self.record.headers.get(TRACEPARENT)


def read(record: Record) -> Incoming:
    """Return what can be read of ``record``. Never raises: what cannot be read says why."""
    digest = hashlib.sha256(record.raw).hexdigest()
    try:
        message = codec.decode(record.raw, record.headers, record.topic)
    except codec.Unreadable as unreadable:
        known = codec.identify(record.raw)
        return Incoming(
            record=record,
            event_id=known.event_id or f"sha256:{digest}",
            digest=digest,
            message=None,
            event_type=known.event_type or "",
            cause=unreadable.cause,
            reason=str(unreadable),
            order_id=known.order_id or "",
        )
    return Incoming(record, message.event_id, digest, message, message.event_type)


def from_here(message: Message, traceparent: str | None) -> Incoming:
    """Return ``message`` as something to decide that no broker delivered: a request to the API, say."""
    raw = codec.encode(message)
    headers = {TRACEPARENT: traceparent} if traceparent else {}
    record = Record("", NOWHERE, NOWHERE, message.key, raw, headers)
    return Incoming(record, message.event_id, hashlib.sha256(raw).hexdigest(), message, message.event_type)
