"""What may change in a contract without a new major version: optional fields may be added, and nothing else.

Processes of two revisions read one another's messages while a rollout runs, so a change has to hold in both
directions: today's readers meet yesterday's messages, and yesterday's readers meet today's.
"""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "$ref", "title", "description", "examples"})
"""Keywords that allow and refuse nothing."""
STRUCTURE = frozenset({"properties", "required", "items", "additionalProperties", "anyOf", "enum", "x-personal-data"})
"""Keywords that are compared by meaning; all others (types, bounds, patterns, defaults) must be equal."""


def incompatibilities(committed: Schema, current: Schema) -> list[str]:
    """Return what stands against ``current`` under the major version of ``committed``, a sentence each.

    Both are whole JSON Schemas as :func:`.schemas.schema_of` gives them.
    """
    return list(_compared(committed, current, "", (committed, current)))


def _compared(old: Schema, new: Schema, path: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    old, new = _resolved(old, roots[0]), _resolved(new, roots[1])
    place = path or "the message"
    yield from _constraints(old, new, place)
    yield from _choices(old, new, place)
    if old.get("x-personal-data") and not new.get("x-personal-data"):
        yield f"{place}: is no longer marked as personal data"
    yield from _fields(old, new, path, roots)
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "[...]")):
        if isinstance(old.get(keyword), dict) and isinstance(new.get(keyword), dict):
            yield from _compared(old[keyword], new[keyword], path + suffix, roots)
        elif old.get(keyword) != new.get(keyword):
            yield f"{place}: {keyword} changed from {old.get(keyword)} to {new.get(keyword)}"
    yield from _alternatives(old, new, path, roots)


def _constraints(old: Schema, new: Schema, place: str) -> Iterator[str]:
    for keyword in sorted((old.keys() | new.keys()) - ANNOTATIONS - STRUCTURE):
        if old.get(keyword, ...) != new.get(keyword, ...):
            yield f"{place}: {keyword} changed from {old.get(keyword, 'none')!r} to {new.get(keyword, 'none')!r}"


def _choices(old: Schema, new: Schema, place: str) -> Iterator[str]:
    before, after = set(old.get("enum", ())), set(new.get("enum", ()))
    if "enum" in old and "enum" not in new:
        yield f"{place}: any value is allowed where there was a choice"
    elif "enum" in new and "enum" not in old:
        yield f"{place}: only some values are allowed where any was"
    else:
        removed, added = sorted(before - after, key=str), sorted(after - before, key=str)
        yield from (f"{place}: the value {value!r} was removed" for value in removed)
        yield from (f"{place}: older readers do not know the value {value!r}" for value in added)


def _fields(old: Schema, new: Schema, path: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(before.keys() | after.keys()):
        field = f"{path}.{name}" if path else name
        if name not in after:
            yield f"{field}: was removed"
        elif name not in before:
            if name in is_required:
                yield f"{field}: was added as a required field; older messages do not have it"
        else:
            if name in is_required - was_required:
                yield f"{field}: became required; older messages may not have it"
            if name in was_required - is_required:
                yield f"{field}: became optional; older readers require it"
            yield from _compared(before[name], after[name], field, roots)


def _alternatives(old: Schema, new: Schema, path: str, roots: tuple[Schema, Schema]) -> Iterator[str]:
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) != len(after):
        yield f"{path or 'the message'}: the number of its alternatives changed from {len(before)} to {len(after)}"
        return
    for was, became in zip(before, after, strict=True):
        yield from _compared(was, became, path, roots)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow a reference; what stands beside it applies too."""
    if "$ref" not in schema:
        return schema
    target: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return {**target, **schema}
