"""Why bytes are no message that this revision can read.

The texts say where and what was expected, never what stood there: they go to logs and dead letters, and a payload can
hold personal data anywhere.
"""

import re
from typing import ClassVar

import msgspec


class Unreadable(Exception):  # noqa: N818 - names what the bytes are, not a fault of the reader
    """Base of the failures to read a message.

    Attributes:
        cause: groups alike failures, as a dead letter's ``cause`` does.
        field: the JSON path of the offending field, as in ``items[0].productId``; empty where it is none in particular.
        reason: what was expected there.
    """

    cause: ClassVar[str] = "unreadable"

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class Undecodable(Unreadable):
    """The bytes are not JSON in UTF-8, or are nested too deeply to be anything of ours."""

    cause = "undecodable"


class UnknownType(Unreadable):
    """No message type has the name, or no name is given."""

    cause = "unknown-type"


class UnknownMajor(Unreadable):
    """The message is of a major version that this revision does not read."""

    cause = "unknown-major"


class InvalidPayload(Unreadable):
    """A field is missing or holds what its type does not allow."""

    cause = "invalid"


class MissingField(InvalidPayload):
    """A field that the type requires is not there."""


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_OWN_READING = re.compile(r"(\w+): ([^`'\"]+)")
_SAYS_NO_VALUE = re.compile(r"Expected `[^']*|Invalid RFC3339 encoded datetime|Invalid decimal string|.* out of range")


def undecodable(error: Exception) -> Undecodable:
    """Return the failure for what msgspec raised on bytes that are not JSON."""
    if isinstance(error, RecursionError):
        return Undecodable("nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Undecodable("the text is not UTF-8")
    return Undecodable(str(error))


def invalid_payload(error: msgspec.ValidationError) -> InvalidPayload:
    """Return the failure for what msgspec found in a payload, without the values that msgspec may quote."""
    text, _, place = str(error).rpartition(" - at `$")
    if not text:
        text, place = str(error), ""
    path = place.removesuffix("`").removeprefix(".")
    if missing := _MISSING.fullmatch(text):
        return MissingField("is missing", _joined(path, missing[1]))
    if own := _OWN_READING.fullmatch(text):
        return InvalidPayload(own[2], _joined(path, own[1]))
    return InvalidPayload(text if _SAYS_NO_VALUE.fullmatch(text) else "none of the values that are known", path)


def _joined(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field
