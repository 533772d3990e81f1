"""The types of a resource as a tree beside the YAML's: what a section may hold, and what stands at a path."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import inspect

from orderflow.spec.resource import Metadata, OrderFlow

Step = str | int
"""A field's name, or a place in a list."""
Path = tuple[Step, ...]

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")

_ROOT: Final = inspect.type_info(OrderFlow)


def parsed(path: str) -> Path:
    """Return the steps of a path as msgspec writes it: ``$.spec.flows[0].name``. What it cannot name ends it."""
    known = path.removeprefix("$").partition("[...]")[0]
    return tuple(int(place) if place else name for name, place in _STEP.findall(known))


def written(path: Iterable[Step]) -> str:
    """Return the path as users read it: ``spec.flows[0].name``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def fields_at(path: Path) -> frozenset[str] | None:
    """Return what the section at ``path`` may hold, or ``None`` where anything goes or there is no section."""
    found = _at(path)
    if not isinstance(found, inspect.StructType) or found.cls is Metadata:
        return None
    return frozenset(_fields(found))


def choices_at(path: Path) -> tuple[str, ...]:
    """Return the values that may stand at ``path``, where they can be counted."""
    found = _at(path)
    return tuple(str(value) for value in found.values) if isinstance(found, inspect.LiteralType) else ()


def _at(path: Path) -> inspect.Type | None:
    found: inspect.Type | None = _ROOT
    for step in path:
        found = _child(_plain(found), step)
    return _plain(found)


def _plain(found: inspect.Type | None) -> inspect.Type | None:
    """Return the type without its constraints' wrapping and without the ``None`` that it may also be."""
    if isinstance(found, inspect.Metadata):
        return _plain(found.type)
    if isinstance(found, inspect.UnionType):
        return next(_plain(one) for one in found.types if not isinstance(one, inspect.NoneType))
    return found


def _child(found: inspect.Type | None, step: Step) -> inspect.Type | None:
    if isinstance(found, inspect.StructType) and isinstance(step, str):
        return _fields(found).get(step)
    if isinstance(found, inspect.VarTupleType | inspect.ListType):
        return found.item_type
    return None


def _fields(found: inspect.StructType) -> Mapping[str, inspect.Type]:
    return {field.encode_name: field.type for field in found.fields}
