"""Messages as bytes, and bytes as messages.

Reading has a fast path, one decoder over the union of all types, and a slow one for what the fast path refuses:
:mod:`.older` rewrites the shapes that earlier writers used into today's, and the same decoder judges the outcome.
Whatever the bytes, reading gives a message or raises :class:`Unreadable`; nothing else.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from orderflow.contracts import older
from orderflow.contracts.envelope import Message
from orderflow.contracts.failures import (
    InvalidPayload,
    MissingField,
    Undecodable,
    UnknownMajor,
    UnknownType,
    Unreadable,
    invalid_payload,
    undecodable,
)
from orderflow.contracts.registry import ANY_MESSAGE, major_of

__all__ = [
    "Identified",
    "InvalidPayload",
    "MissingField",
    "Undecodable",
    "UnknownMajor",
    "UnknownType",
    "Unreadable",
    "decode",
    "encode",
    "identify",
]

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(ANY_MESSAGE)
_ESCAPED_NUL = b"\\u0000"


def encode(message: Message) -> bytes:
    """Return the message as JSON. Equal messages give equal bytes."""
    return _ENCODER.encode(message)


def decode(raw: bytes, headers: Mapping[str, str] | None = None, topic: str | None = None) -> Message:
    """Return the message in ``raw``, whatever shape of its major version it was written in.

    Args:
        raw: the record's value.
        headers: the record's; they name type and id where the payload does not.
        topic: without its prefix; a payload that names no type anywhere is the one type that fits on its topic.

    Raises:
        Unreadable: one of its kinds; ``cause`` says which.
    """
    refusal: msgspec.ValidationError | None = None
    try:
        message = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        refusal = error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise undecodable(error) from None
    if refusal is not None:
        # Outside the handler, so that no failure carries the text of msgspec's, which may quote the message.
        message = _decode_older(raw, headers or {}, topic, refusal)
    if message.schema_version != message.VERSION:
        _check_version(message)
    if not message.order_id and message.KEY == "order_id":
        raise MissingField("is missing", "orderId")
    if _ESCAPED_NUL in raw:
        _check_texts(message)
    return message


def _decode_older(
    raw: bytes, headers: Mapping[str, str], topic: str | None, refusal: msgspec.ValidationError
) -> Message:
    try:
        fields = older.parsed(raw)
    except msgspec.ValidationError:
        # A number that no type of ours has room for: the first refusal names its field.
        raise invalid_payload(refusal) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise undecodable(error) from None
    try:
        return _DECODER.decode(_ENCODER.encode(older.rewritten(fields, headers, topic)))
    except msgspec.ValidationError as error:
        raise invalid_payload(error) from None
    except (UnicodeError, RecursionError) as error:
        raise undecodable(error) from None


def _check_version(message: Message) -> None:
    if major_of(message.schema_version) != major_of(message.VERSION):
        raise UnknownMajor(f"this revision reads major {major_of(message.VERSION)}", "schemaVersion")


def _check_texts(message: Message) -> None:
    for path in _texts_with_nul(msgspec.to_builtins(message, builtin_types=(msgspec.Raw,)), ""):
        raise InvalidPayload("U+0000 stands in no text", path)


def _texts_with_nul(value: Any, path: str) -> Iterator[str]:
    match value:
        case str() if "\0" in value:
            yield path
        case dict():
            for key, inner in value.items():
                if "\0" in key:
                    yield f"{path}[...]"
                yield from _texts_with_nul(inner, f"{path}.{key}" if path else key)
        case list() | tuple():
            for place, inner in enumerate(value):
                yield from _texts_with_nul(inner, f"{path}[{place}]")


class Identified(msgspec.Struct, frozen=True):
    """What could be made out of bytes that are no readable message: each is ``None`` unless it would fit its column."""

    event_id: str | None = None
    event_type: str | None = None
    order_id: str | None = None


_LONGEST = {"eventId": 200, "eventType": 64, "orderId": 64}


def identify(raw: bytes) -> Identified:
    """Return the names a broken message goes by, as far as they can be made out. Never raises."""
    try:
        fields = older.canonical_names(older.parsed(raw))
    except (Unreadable, msgspec.MsgspecError, ValueError, RecursionError):
        fields = {name: _searched(raw, name) for name in _LONGEST}
    event_id, event_type, order_id = (_fitting(fields.get(name), longest) for name, longest in _LONGEST.items())
    return Identified(event_id, event_type, order_id)


def _searched(raw: bytes, name: str) -> str | None:
    found = re.search(rf'"{name}"\s*:\s*"([^"\\\x00-\x1f]{{1,200}})"'.encode(), raw, re.IGNORECASE)
    try:
        return found[1].decode() if found else None
    except UnicodeDecodeError:
        return None


def _fitting(value: object, longest: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= longest and "\0" not in value else None
