"""The contract of each message as JSON Schema 2020-12, generated from the types.

A schema says what is written. Readers also take amounts as JSON numbers, fields that they do not know, and the shapes
of :mod:`.older`.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from orderflow.contracts.envelope import Message
from orderflow.contracts.registry import contract_id

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: type[Message]) -> Schema:
    """Return the JSON Schema of one message type, whole in itself."""
    parts = components([kind], "#/$defs/{name}")
    own = parts.pop(kind.__name__)
    return {"$schema": DIALECT, "$id": contract_id(kind), **own, "$defs": parts}


def components(kinds: Iterable[type[Message]], ref_template: str) -> dict[str, Schema]:
    """Return the schemas of ``kinds`` and of their parts by name, which refer to one another by ``ref_template``."""
    types = {kind.__name__: kind for kind in kinds}
    _, schemas = msgspec.json.schema_components(types.values(), ref_template=ref_template)
    return {
        name: _with_key(schema, types[name]) if name in types else schema for name, schema in sorted(schemas.items())
    }


def _with_key(schema: Schema, kind: type[Message]) -> Schema:
    """Require the order id, which only the few types without an order may leave out."""
    if kind.KEY != "order_id":
        return schema
    order_id = {name: value for name, value in schema["properties"]["orderId"].items() if name != "default"}
    return {
        **schema,
        "properties": {**schema["properties"], "orderId": {**order_id, "minLength": 1}},
        "required": [*schema["required"], "orderId"],
    }
