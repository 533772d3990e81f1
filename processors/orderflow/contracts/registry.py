"""The message types by name, and what each of their fields is."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from orderflow.contracts.envelope import Message
from orderflow.contracts.topics import TOPIC_OF

TYPES: Mapping[str, type[Message]] = {kind.__name__: kind for kind in TOPIC_OF}
"""Every message type, by the name that stands in ``eventType``."""

ANY_MESSAGE: Any = Union[tuple(TOPIC_OF)]  # noqa: UP007 - a union of types that are known at run time only
"""The union of all message types, for a decoder."""

FieldKind = Literal["plain", "personal", "free", "opaque"]
"""What a field holds: values that say nothing about a person; personal data; a map whose keys the type does not name;
JSON that belongs to one context and holds no personal data."""


def major_of(version: str) -> str:
    """Return the part of a ``major.minor`` version that decides whether a reader can read it."""
    return version.partition(".")[0]


@cache
def contract_id(kind: type[Message]) -> str:
    """Return the URI that names the type's contract: its schema's ``$id`` and its messages' ``ce_dataschema``."""
    return f"urn:orderflow:contracts:{kind.__name__}:v{major_of(kind.VERSION)}"


@cache
def field_kinds(kind: type[msgspec.Struct]) -> Mapping[str, FieldKind]:
    """Return every field of ``kind`` by its JSON path: ``customer.name``, ``items[].price``."""
    return dict(_fields(kind, ""))


def personal_fields(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the JSON paths of the fields of ``kind`` that hold personal data."""
    return frozenset(path for path, held in field_kinds(kind).items() if held == "personal")


def _fields(kind: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, FieldKind]]:
    tag_field = kind.__struct_config__.tag_field
    if tag_field is not None:
        yield prefix + tag_field, "plain"
    for field in msgspec.structs.fields(kind):
        yield from _values(field.type, prefix + field.encode_name)


def _values(annotation: Any, path: str) -> Iterator[tuple[str, FieldKind]]:
    if _is_personal(annotation):
        yield path, "personal"
    elif annotation is msgspec.Raw:
        yield path, "opaque"
    elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield path, "plain"
        yield from _fields(annotation, f"{path}.")
    elif get_origin(annotation) is dict:
        yield path, "free"
    elif get_origin(annotation) is tuple:
        yield path, "plain"
        yield from _values(get_args(annotation)[0], f"{path}[]")
    elif inner := [part for part in get_args(annotation) if isinstance(part, type) or get_origin(part)]:
        yield from _values(inner[0], path)
    else:
        yield path, "plain"


def _is_personal(annotation: Any) -> bool:
    return any(
        isinstance(meta, msgspec.Meta) and (meta.extra_json_schema or {}).get("x-personal-data") is True
        for meta in getattr(annotation, "__metadata__", ())
    )
