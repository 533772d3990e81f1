"""From the types of the resource to a structural schema: what the API server checks, fills in and explains.

Kubernetes takes less than JSON Schema has: no references, no ``anyOf`` over types, bounds in the older spelling. A
field that may be ``None`` may be left out there; a key that no type has is dropped by the server, or refused where the
client asks for strictness, as ``kubectl`` does.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from orderflow_operator.sparse import sparse

Schema = dict[str, Any]

_ATTRIBUTE: Final = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {12}.*)*)", re.MULTILINE)

_BOUNDS: Final = {"ge": ("minimum", False), "gt": ("minimum", True), "le": ("maximum", False), "lt": ("maximum", True)}


def schema_of(found: types.Type) -> Schema:  # noqa: C901, PLR0911, PLR0912 - one line for each kind of type
    """Return the structural schema of a type.

    Raises:
        TypeError: the type has none.
    """
    match found:
        case types.Metadata():
            return {**schema_of(found.type), **(found.extra_json_schema or {})}
        case types.UnionType():
            return _union([one for one in found.types if not isinstance(one, types.NoneType)])
        case types.StructType():
            return _struct(found)
        case types.StrType():
            return {"type": "string", **_sizes(found, "Length"), **_pattern(found)}
        case types.IntType():
            return {"type": "integer", "format": "int64", **_range(found)}
        case types.FloatType():
            return {"type": "number", **_range(found)}
        case types.DecimalType():
            return {"type": "string"}
        case types.BoolType():
            return {"type": "boolean"}
        case types.LiteralType():
            return {"type": "string", "enum": list(found.values)}
        case types.EnumType():
            return {"type": "string", "enum": [member.value for member in found.cls]}
        case types.VarTupleType() | types.ListType() | types.FrozenSetType():
            return {"type": "array", "items": schema_of(found.item_type), **_sizes(found, "Items")}
        case types.TupleType():
            length = len(found.item_types)
            return {"type": "array", "items": schema_of(found.item_types[0]), "minItems": length, "maxItems": length}
        case types.DictType(value_type=types.AnyType()):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case types.DictType():
            return {"type": "object", "additionalProperties": schema_of(found.value_type)}
    raise TypeError(f"no structural schema for {found!r}")


def _union(found: list[types.Type]) -> Schema:
    if len(found) == 1:
        return schema_of(found[0])
    if {type(one) for one in found} == {types.IntType, types.StrType}:
        return {"x-kubernetes-int-or-string": True}
    raise TypeError(f"no structural schema for one of {found!r}")


def _struct(found: types.StructType) -> Schema:
    told = _attributes(found.cls)
    properties: dict[str, Schema] = {}
    for field in found.fields:
        schema = schema_of(field.type)
        if field.name in told:
            schema = {"description": told[field.name], **schema}
        default = _default(field, schema)
        if default is not None:
            schema["default"] = default
        properties[field.encode_name] = schema
    required = [field.encode_name for field in found.fields if field.required]
    schema = {"type": "object", "description": _summary(found.cls), "properties": properties}
    return {**schema, "required": required} if required else schema


def _default(field: types.Field, schema: Schema) -> Any:
    """Return what the API server fills in; ``None`` for nothing."""
    default = field.default if field.default is not msgspec.NODEFAULT else None
    if default is None or default in ((), {}):
        return None
    if isinstance(default, msgspec.Struct):
        # What is in it has defaults of its own, which the server fills in, if there is a section to fill.
        return sparse(default)
    if schema.get("type") == "number" and isinstance(default, float) and default.is_integer():
        return int(default)
    return sparse(default)


def _range(found: types.IntType | types.FloatType) -> Schema:
    bounds: Schema = {}
    for name, (bound, exclusive) in _BOUNDS.items():
        value = getattr(found, name)
        if value is not None:
            bounds[bound] = value
            if exclusive:
                bounds[f"exclusive{bound.capitalize()}"] = True
    return bounds


def _sizes(found: Any, of: str) -> Schema:
    bounds = {f"min{of}": found.min_length, f"max{of}": found.max_length}
    return {name: value for name, value in bounds.items() if value is not None}


def _pattern(found: types.StrType) -> Schema:
    return {"pattern": found.pattern} if found.pattern is not None else {}


def _summary(cls: type) -> str:
    return _prose(inspect.getdoc(cls) or "").partition(" Attributes:")[0].partition(" Raises:")[0]


def _attributes(cls: type) -> Mapping[str, str]:
    """Return what a docstring says of each field."""
    told: dict[str, str] = {}
    for names, text in _ATTRIBUTE.findall(cls.__doc__ or ""):
        told |= dict.fromkeys(names.split(", "), _sentence(_prose(text)))
    return told


def _prose(text: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", " ".join(text.split()))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
