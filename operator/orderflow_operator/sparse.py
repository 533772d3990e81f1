"""A struct without what goes without saying: the form in which something is hashed.

A field that a later version adds with a default leaves the hash of everything as it is: an upgrade of the operator is
no change of a revision.
"""

import hashlib
from functools import cache
from typing import Any

import msgspec

DIGITS = 10
"""Hexadecimal digits of a digest in a name: 40 bits keep the revisions of one processor apart."""


def sparse(value: object) -> Any:
    """Return ``value`` as plain data, without the fields that have their defaults."""
    if isinstance(value, msgspec.Struct):
        fields = _fields(type(value))
        kept = {field.encode_name: getattr(value, field.name) for field in fields if not _is_default(value, field)}
        return {name: sparse(content) for name, content in kept.items()}
    if isinstance(value, dict):
        return {key: sparse(content) for key, content in value.items()}
    if isinstance(value, tuple | list):
        return [sparse(item) for item in value]
    return msgspec.to_builtins(value)


def digest(value: object) -> str:
    """Return a short name for what ``value`` says; equal for equal content whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:DIGITS]


@cache
def _fields(cls: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(cls)


def _is_default(value: msgspec.Struct, field: msgspec.structs.FieldInfo) -> bool:
    content = getattr(value, field.name)
    if field.default is not msgspec.NODEFAULT:
        return bool(content == field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(content == field.default_factory())
    return False
