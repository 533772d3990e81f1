"""Personal data out of payloads: for dead letters, logs and analytics.

In a message of a known type the fields that its contract marks are masked. Whatever the contract does not name (fields
of later versions, free maps, unknown types, broken JSON) is masked where its key sounds like personal data: rather one
product's name too many than one person's too few.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from orderflow.contracts.older import ALIASES
from orderflow.contracts.registry import TYPES, FieldKind, field_kinds

MASK = "***"

PERSONAL_KEYS = (
    "name",
    "mail",
    "phone",
    "phonenumber",
    "mobile",
    "pushtoken",
    "devicetoken",
    "address",
    "street",
    "city",
    "zip",
    "postcode",
    "postalcode",
    "birthdate",
    "dateofbirth",
    "cardnumber",
    "iban",
)
"""What the keys of personal data end in, in lower case without separators."""


def masked(raw: bytes) -> bytes:
    """Return ``raw`` with personal data replaced by ``***``. Never raises.

    JSON is written anew, so that nothing hides in what a parser drops, as the first of two equal keys. Other text is
    searched for keys that sound personal; bytes that are no text are replaced as a whole.
    """
    try:
        value = _PARSER.decode(raw)
        return msgspec.json.encode(_hidden(value, "", _kinds_of(value)))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _searched(raw)


def sounds_personal(key: str) -> bool:
    """Tell whether a value under ``key`` may say something about a person."""
    return _SEPARATORS.sub("", key).lower().endswith(PERSONAL_KEYS)


# Numbers with a fraction keep their digits.
_PARSER = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))
_SEPARATORS = re.compile(r"[^A-Za-z0-9]")


def _kinds_of(value: Any) -> Mapping[str, FieldKind]:
    name = value.get("eventType") if isinstance(value, dict) else None
    kind = TYPES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    return field_kinds(kind) if kind is not None else {}


def _hidden(value: Any, path: str, kinds: Mapping[str, FieldKind]) -> Any:
    match value:
        case dict():
            return {
                key: _hidden_field(key, inner, f"{path}.{key}" if path else key, kinds) for key, inner in value.items()
            }
        case list():
            return [_hidden(inner, f"{path}[]", kinds) for inner in value]
    return value


def _hidden_field(key: str, value: Any, path: str, kinds: Mapping[str, FieldKind]) -> Any:
    held = kinds.get(path)
    if held == "opaque" or value is None:
        return value
    if held == "personal" or (held is None and sounds_personal(key)):
        return MASK
    return _hidden(value, path, kinds)


_KEY = re.compile(rb"""(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,64})["']?\s*[:=]\s*""")
_VALUES = re.compile(rb"""("(?:[^"\\]|\\.)*+"?)|('(?:[^'\\]|\\.)*+'?)|([^\s,;&}\]"'{\[][^,;&}\]\n]*)""", re.DOTALL)
_MASKED = f'"{MASK}"'.encode()


def _searched(raw: bytes) -> bytes:
    if b"\0" in raw:
        return _MASKED
    parts: list[bytes] = []
    done = 0
    while key := _KEY.search(raw, done):
        parts.append(raw[done : key.end()])
        done = key.end()
        if not sounds_personal(key[1].decode()):
            continue
        value = _VALUES.match(raw, done)
        parts.append(_MASKED)
        if value is None:
            # An object or a list, whose end cannot be found in broken JSON: all that follows may belong to it.
            return b"".join(parts)
        done = value.end()
    parts.append(raw[done:])
    return b"".join(parts)
