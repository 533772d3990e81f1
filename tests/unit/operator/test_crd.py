"""The definition that is committed is the one that the types make."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderflow.spec.resource import Spec
from orderflow_operator.crd import definition, text
from orderflow_operator.schema import schema_of

COMMITTED = Path(__file__).parents[3] / "manifests" / "crd.yaml"


@pytest.fixture(scope="module")
def version() -> Any:
    return definition()["spec"]["versions"][0]


def test_what_is_committed_is_in_step_with_the_types() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text(), "run `make crd`"


def test_every_field_of_the_resource_is_there(version: Any) -> None:
    fields = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert fields.keys() == {field.encode_name for field in msgspec.structs.fields(Spec)}


def test_the_schema_is_structural(version: Any) -> None:
    forbidden = {"$ref", "anyOf", "oneOf", "not", "additionalItems", "prefixItems", "const"}

    def walk(schema: Any) -> None:
        assert not forbidden & schema.keys()
        for part in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
            if part is not None:
                walk(part)

    walk(version["schema"]["openAPIV3Schema"])


def test_it_has_its_columns_and_its_status_apart(version: Any) -> None:
    columns = {one["name"]: one["priority"] for one in version["additionalPrinterColumns"]}
    assert columns == {
        "Ready": 0,
        "Phase": 0,
        "Step": 0,
        "Weight": 0,
        "Revision": 0,
        "Age": 0,
        "Lag": 1,
        "Message": 1,
    }
    assert version["subresources"] == {"status": {}}


def test_a_type_without_a_schema_is_refused() -> None:
    class Strange(msgspec.Struct):
        field: int | list[int]

    with pytest.raises(TypeError, match="no structural schema"):
        schema_of(msgspec.inspect.type_info(Strange))
