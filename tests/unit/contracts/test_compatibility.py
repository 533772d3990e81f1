"""Each way to break a contract is caught; growing it is allowed."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderflow.contracts.compatibility import incompatibilities
from orderflow.contracts.publishing import BrokenContract, broken_promises, contract_files, write_contracts
from orderflow.contracts.registry import TYPES
from orderflow.contracts.schemas import schema_of

Schema = dict[str, Any]

COMMITTED: Schema = {
    "$id": "urn:test",
    "type": "object",
    "properties": {
        "eventType": {"enum": ["Tested"]},
        "id": {"type": "string", "minLength": 1, "maxLength": 64},
        "amount": {"type": "string", "pattern": "^[0-9]+$"},
        "status": {"enum": ["open", "done"]},
        "tenant": {"type": "string", "default": "default"},
        "reason": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}], "default": None},
        "customer": {"$ref": "#/$defs/Customer"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "maxItems": 100},
        "metrics": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["eventType", "id", "amount", "status", "items"],
    "$defs": {
        "Customer": {
            "type": "object",
            "properties": {"name": {"type": "string", "x-personal-data": True, "default": ""}},
            "required": [],
        },
        "Item": {
            "type": "object",
            "properties": {"productId": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
            "required": ["productId", "quantity"],
        },
    },
}


def changed(change: Callable[[Schema], Any]) -> Schema:
    current = copy.deepcopy(COMMITTED)
    change(current)
    return current


def properties(schema: Schema) -> Schema:
    inner: Schema = schema["properties"]
    return inner


def item(schema: Schema) -> Schema:
    inner: Schema = schema["$defs"]["Item"]
    return inner


def test_a_contract_is_compatible_with_itself() -> None:
    assert incompatibilities(COMMITTED, copy.deepcopy(COMMITTED)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda new: properties(new).update(added={"type": "string"}),
        lambda new: item(new)["properties"].update(added={"type": "integer", "default": 0}),
        lambda new: new["$defs"]["Customer"]["properties"].update(added={"$ref": "#/$defs/Item"}),
        lambda new: new.update(description="said better", title="Tested"),
        lambda new: properties(new)["amount"].update({"x-personal-data": True}),
        lambda new: new.update(properties=dict(reversed(properties(new).items()))),
        lambda new: new["required"].reverse(),
        lambda new: properties(new).update(customer=new["$defs"].pop("Customer")),
    ],
    ids=[
        "optional field",
        "optional field in a part",
        "optional field with a part of its own",
        "other words",
        "newly personal",
        "other order of fields",
        "other order of required fields",
        "part written in place",
    ],
)
def test_a_contract_may_grow(change: Callable[[Schema], Any]) -> None:
    assert incompatibilities(COMMITTED, changed(change)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda new: properties(new).pop("tenant"), "tenant: was removed"),
        (lambda new: item(new)["properties"].pop("quantity"), "items[].quantity: was removed"),
        (
            lambda new: (properties(new).update(added={"type": "string"}), new["required"].append("added")),
            "added: was added as a required field; older messages do not have it",
        ),
        (
            lambda new: new["required"].append("tenant"),
            "tenant: became required; older messages may not have it",
        ),
        (lambda new: new["required"].remove("amount"), "amount: became optional; older readers require it"),
        (
            lambda new: item(new)["required"].remove("quantity"),
            "items[].quantity: became optional; older readers require it",
        ),
        (
            lambda new: properties(new)["amount"].update(type="number"),
            "amount: type changed from 'string' to 'number'",
        ),
        (
            lambda new: properties(new)["metrics"].update(additionalProperties={"type": "number"}),
            "metrics[...]: type changed from 'string' to 'number'",
        ),
        (
            lambda new: properties(new)["metrics"].update(additionalProperties=False),
            "metrics: additionalProperties changed from {'type': 'string'} to False",
        ),
        (lambda new: properties(new)["status"]["enum"].remove("done"), "status: the value 'done' was removed"),
        (
            lambda new: properties(new)["status"]["enum"].append("lost"),
            "status: older readers do not know the value 'lost'",
        ),
        (
            lambda new: properties(new).update(status={}),
            "status: any value is allowed where there was a choice",
        ),
        (
            lambda new: properties(new)["id"].update(enum=["a"]),
            "id: only some values are allowed where any was",
        ),
        (lambda new: properties(new)["id"].update(maxLength=32), "id: maxLength changed from 64 to 32"),
        (lambda new: properties(new)["id"].update(maxLength=128), "id: maxLength changed from 64 to 128"),
        (lambda new: properties(new)["id"].pop("minLength"), "id: minLength changed from 1 to 'none'"),
        (
            lambda new: properties(new)["tenant"].update(maxLength=9),
            "tenant: maxLength changed from 'none' to 9",
        ),
        (
            lambda new: properties(new)["amount"].update(pattern="^x$"),
            "amount: pattern changed from '^[0-9]+$' to '^x$'",
        ),
        (
            lambda new: item(new)["properties"]["quantity"].update(minimum=0),
            "items[].quantity: minimum changed from 1 to 0",
        ),
        (
            lambda new: properties(new)["tenant"].update(default="other"),
            "tenant: default changed from 'default' to 'other'",
        ),
        (
            lambda new: properties(new)["reason"]["anyOf"].pop(),
            "reason: the number of its alternatives changed from 2 to 1",
        ),
        (
            lambda new: properties(new)["reason"]["anyOf"][0].update(maxLength=5),
            "reason: maxLength changed from 10 to 5",
        ),
        (
            lambda new: new["$defs"]["Customer"]["properties"]["name"].pop("x-personal-data"),
            "customer.name: is no longer marked as personal data",
        ),
        (
            lambda new: properties(new)["eventType"].update(enum=["Renamed"]),
            "eventType: the value 'Tested' was removed",
        ),
        (lambda new: new.update(type="array"), "the message: type changed from 'object' to 'array'"),
    ],
)
def test_nothing_else_may_change(change: Callable[[Schema], Any], sentence: str) -> None:
    assert sentence in incompatibilities(COMMITTED, changed(change))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return contract_files()


def test_there_is_a_file_for_each_message_and_one_for_the_document(tmp_path: Path, files: dict[str, bytes]) -> None:
    written = write_contracts(tmp_path / "contracts")
    assert {path.name: path.read_bytes() for path in written} == files
    assert files.keys() == {*(f"{name}.v1.json" for name in TYPES), "asyncapi.json"}
    assert write_contracts(tmp_path / "contracts") == written


def test_a_committed_contract_is_not_overwritten_by_an_incompatible_one(tmp_path: Path) -> None:
    before = schema_of(TYPES["OrderCompleted"])
    before["properties"]["completedBy"] = {"type": "string"}
    committed = tmp_path / "OrderCompleted.v1.json"
    committed.write_bytes(msgspec.json.encode(before))
    with pytest.raises(BrokenContract, match=r"OrderCompleted\.v1\.json: completedBy: was removed"):
        write_contracts(tmp_path)
    assert msgspec.json.decode(committed.read_bytes()) == before
    assert [path.name for path in tmp_path.iterdir()] == [committed.name]


def test_a_message_cannot_go_while_its_contract_stands(tmp_path: Path) -> None:
    (tmp_path / "OrderEaten.v1.json").write_bytes(b"{}")
    assert broken_promises(tmp_path) == ["OrderEaten.v1.json: the message is gone, or its major version went down"]
