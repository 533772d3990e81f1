"""What holds for the fields of all message types."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from orderflow.contracts.envelope import Message
from orderflow.contracts.fields import Checked
from orderflow.contracts.registry import ANY_MESSAGE, TYPES, field_kinds
from orderflow.contracts.schemas import components, schema_of
from orderflow.contracts.topics import TOPIC_OF

EVERY_TYPE = pytest.mark.parametrize("kind", TYPES.values(), ids=list(TYPES))
ALL_SCHEMAS = components(TYPES.values(), "#/{name}")


def texts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "string":
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from texts(inner, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from texts(schema[keyword], f"{path}[]")
    for inner in schema.get("anyOf", []):
        yield from texts(inner, path)


@pytest.mark.parametrize("name", ALL_SCHEMAS)
def test_every_text_is_bounded(name: str) -> None:
    unbounded = [
        path
        for path, schema in texts(ALL_SCHEMAS[name], name)
        if "maxLength" not in schema and schema.get("format") not in {"date-time", "decimal"}
    ]
    assert not unbounded


@pytest.mark.parametrize("name", ALL_SCHEMAS)
def test_every_whole_number_is_bounded(name: str) -> None:
    for field, schema in ALL_SCHEMAS[name]["properties"].items():
        if schema.get("type") == "integer":
            assert {"minimum", "maximum"} <= schema.keys(), field


def parts_of(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield kind
    for field in msgspec.structs.fields(kind):
        yield from structs_in(field.type)


def structs_in(annotation: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield from parts_of(annotation)
    for part in get_args(annotation):
        yield from structs_in(part)


@EVERY_TYPE
def test_whatever_has_a_field_with_a_reading_is_checked_when_it_is_made(kind: type[Message]) -> None:
    for part in parts_of(kind):
        info = msgspec.inspect.type_info(part)
        assert issubclass(part, Checked) or "reading" not in repr(info), part


@EVERY_TYPE
def test_every_type_says_when_it_happened_and_what_it_is_ordered_by(kind: type[Message]) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    assert fields[kind.TIME].required
    assert kind.KEY == "order_id" or fields[kind.KEY].required


@EVERY_TYPE
def test_no_field_is_lost_on_the_way_to_the_schema(kind: type[Message]) -> None:
    top_level = {path for path in field_kinds(kind) if "." not in path and "[" not in path}
    assert top_level == schema_of(kind)["properties"].keys()


def test_every_type_stands_under_its_own_name_and_on_a_topic() -> None:
    assert list(TYPES.values()) == list(TOPIC_OF)
    assert all(kind.__struct_config__.tag == name for name, kind in TYPES.items())
    assert set(get_args(ANY_MESSAGE)) == set(TOPIC_OF)
