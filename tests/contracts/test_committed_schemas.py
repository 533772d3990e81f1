"""The schemas in docs/contracts are what was promised: the code is held against them.

After a compatible change, ``orderflow contracts --write docs/contracts`` brings the files up to date. An incompatible
one is a new major version of the message.
"""

from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from orderflow.contracts.compatibility import incompatibilities
from orderflow.contracts.publishing import broken_promises, contract_files, schema_file
from orderflow.contracts.registry import TYPES
from orderflow.contracts.schemas import schema_of

COMMITTED = Path(__file__).parents[2] / "docs" / "contracts"
EVERY_TYPE = pytest.mark.parametrize("name", TYPES)


def test_no_committed_contract_is_broken() -> None:
    assert broken_promises(COMMITTED) == []


@EVERY_TYPE
def test_every_message_has_a_committed_schema_and_keeps_to_it(name: str) -> None:
    path = COMMITTED / schema_file(TYPES[name])
    assert path.is_file(), f"{name} has no committed schema"
    assert incompatibilities(msgspec.json.decode(path.read_bytes()), schema_of(TYPES[name])) == []


def test_the_committed_files_are_what_the_code_generates() -> None:
    generated = contract_files()
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*.json")}
    assert committed.keys() == generated.keys()
    assert [name for name in generated if generated[name] != committed[name]] == []


@EVERY_TYPE
def test_every_committed_schema_is_a_valid_json_schema(name: str) -> None:
    schema = msgspec.json.decode((COMMITTED / schema_file(TYPES[name])).read_bytes())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
