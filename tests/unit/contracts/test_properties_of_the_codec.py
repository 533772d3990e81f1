"""For every message type: what is written can be read, equals what was written, and obeys its schema."""

import types
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orderflow.contracts.codec import Unreadable, decode, encode, identify
from orderflow.contracts.envelope import Message
from orderflow.contracts.headers import headers_of, parse_traceparent
from orderflow.contracts.masking import masked
from orderflow.contracts.money import LARGEST_TOTAL
from orderflow.contracts.registry import TYPES
from orderflow.contracts.schemas import schema_of
from orderflow.contracts.topics import TOPICS

EVERY_TYPE = pytest.mark.parametrize("name", sorted(TYPES))
FEW = settings(max_examples=8)

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PLANS = st.sampled_from([msgspec.UNSET, msgspec.Raw(b'{"steps":[1,2]}')])


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, within its constraints."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return constrained(arguments[0], arguments[1])
    if origin in COMPOSED:
        return COMPOSED[origin](*arguments)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return structs(annotation)
    return SIMPLE[annotation]()


def either(*parts: Any) -> st.SearchStrategy[Any]:
    return PLANS if msgspec.Raw in parts else st.one_of([values(part) for part in parts])


COMPOSED: dict[Any, Callable[..., st.SearchStrategy[Any]]] = {
    Union: either,
    types.UnionType: either,
    Literal: lambda *choices: st.sampled_from(choices),
    tuple: lambda item, _rest: st.lists(values(item), max_size=3).map(tuple),
    dict: lambda key, value: st.dictionaries(values(key), values(value), max_size=3),
}
SIMPLE: dict[Any, Callable[[], st.SearchStrategy[Any]]] = {
    type(None): st.none,
    bool: st.booleans,
    Decimal: lambda: st.decimals(0, LARGEST_TOTAL, places=2),
    datetime: lambda: st.datetimes(timezones=st.just(UTC)),
}


def constrained(base: Any, meta: msgspec.Meta) -> st.SearchStrategy[Any]:
    if base is str and meta.extra_json_schema and "pattern" in meta.extra_json_schema:
        return st.sampled_from(["1.0", "1", "1.7"])
    if base is str:
        return st.text(CHARACTERS, min_size=meta.min_length or 0, max_size=min(meta.max_length or 0, 64))
    if base is int:
        return st.integers(int(meta.ge or 0), int(meta.le or 0))
    if get_origin(base) is tuple:
        return st.lists(values(get_args(base)[0]), min_size=meta.min_length or 0, max_size=3).map(tuple)
    return values(base)


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    if issubclass(kind, Message) and kind.KEY == "order_id":
        fields["order_id"] = st.text(CHARACTERS, min_size=1, max_size=64)
    return st.builds(kind, **fields)


@cache
def messages_of(name: str) -> st.SearchStrategy[Message]:
    return structs(TYPES[name])


@cache
def schema_obeyed(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(TYPES[name]))


any_message = st.sampled_from(sorted(TYPES)).flatmap(messages_of)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@EVERY_TYPE
@FEW
@given(data=st.data())
def test_what_is_written_is_read_back_equal_written_again_in_the_same_bytes_and_obeys_its_schema(
    name: str, data: st.DataObject
) -> None:
    message = data.draw(messages_of(name))
    raw = encode(message)
    assert decode(raw) == message
    assert encode(decode(raw)) == raw
    schema_obeyed(name).validate(msgspec.json.decode(raw))


@given(message=any_message, later=json_values)
def test_fields_of_later_minor_versions_are_ignored(message: Message, later: Any) -> None:
    payload = msgspec.json.decode(encode(message)) | {"schemaVersion": "1.42", "addedLater": later}
    assert decode(msgspec.json.encode(payload)) == msgspec.structs.replace(message, schema_version="1.42")


@given(message=any_message, traceparent=st.none() | st.text(max_size=60))
def test_headers_are_a_function_of_message_and_trace(message: Message, traceparent: str | None) -> None:
    headers = headers_of(message, traceparent)
    assert headers == headers_of(decode(encode(message)), traceparent)
    assert headers["ce_id"] == message.event_id
    assert parse_traceparent(headers["traceparent"]) is not None


def read_or_refuse(raw: bytes, headers: dict[str, str], topic: str | None) -> None:
    try:
        assert isinstance(decode(raw, headers, topic), Message)
    except Unreadable as unreadable:
        assert unreadable.cause in {"undecodable", "unknown-type", "unknown-major", "invalid"}  # noqa: PT017
    identify(raw)
    masked(raw)


topics = st.none() | st.sampled_from(TOPICS)
headers = st.dictionaries(st.sampled_from(["ce_type", "ce_id", "traceparent"]), st.text(max_size=20), max_size=3)


@given(raw=st.binary(max_size=200), headers=headers, topic=topics)
def test_arbitrary_bytes_are_read_or_refused(raw: bytes, headers: dict[str, str], topic: str | None) -> None:
    read_or_refuse(raw, headers, topic)


@given(value=json_values, headers=headers, topic=topics)
def test_arbitrary_json_is_read_or_refused(value: Any, headers: dict[str, str], topic: str | None) -> None:
    read_or_refuse(msgspec.json.encode(value), headers, topic)


@given(data=st.data(), message=any_message, headers=headers, topic=topics)
def test_a_message_with_any_field_replaced_or_dropped_is_read_or_refused(
    data: st.DataObject, message: Message, headers: dict[str, str], topic: str | None
) -> None:
    payload = msgspec.json.decode(encode(message))
    for field in data.draw(st.sets(st.sampled_from(sorted(payload)), min_size=1)):
        payload[field] = data.draw(json_values)
    for field in data.draw(st.sets(st.sampled_from(sorted(payload)), max_size=2)):
        del payload[field]
    read_or_refuse(msgspec.json.encode(payload), headers, topic)


@given(data=st.data(), message=any_message)
def test_a_message_with_damaged_bytes_is_read_or_refused(data: st.DataObject, message: Message) -> None:
    raw = bytearray(encode(message))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(raw[: data.draw(st.integers(0, len(raw)))]), {}, None)
