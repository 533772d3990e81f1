"""The AsyncAPI document is whole: every topic, every message, and no reference that leads nowhere."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from orderflow.contracts.asyncapi import document
from orderflow.contracts.envelope import Metadata
from orderflow.contracts.events import OrderCompleted
from orderflow.contracts.headers import headers_of
from orderflow.contracts.registry import TYPES
from orderflow.contracts.topics import ORDER_EVENTS, TOPIC_OF, TOPICS

DOCUMENT = document()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def found(reference: str) -> Any:
    value: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def test_it_is_an_asyncapi_3_document_about_json() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["defaultContentType"] == "application/json"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    assert DOCUMENT.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}


def test_it_is_plain_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT)) == DOCUMENT


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert found(reference)


def test_every_topic_is_a_channel_with_its_messages() -> None:
    assert DOCUMENT["channels"].keys() == set(TOPICS)
    for topic, channel in DOCUMENT["channels"].items():
        assert channel["address"] == topic
        assert set(channel["messages"]) == {kind.__name__ for kind, where in TOPIC_OF.items() if where == topic}


@pytest.mark.parametrize("name", TYPES)
def test_every_message_has_payload_headers_and_content_type(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    assert message["name"] == name
    assert message["contentType"] == "application/json"
    assert message["summary"]
    assert found(message["headers"]["$ref"])["title"] == "Headers"
    payload = found(message["payload"]["$ref"])
    assert payload["properties"]["eventType"] == {"enum": [name]}
    Draft7Validator.check_schema(payload)


def test_the_headers_that_are_sent_obey_their_schema() -> None:
    message = OrderCompleted(event_id="e", order_id="o", completed_at=datetime(2026, 2, 10, 12, tzinfo=UTC))
    schema = DOCUMENT["components"]["schemas"]["Headers"]
    for metadata in (Metadata(), Metadata(source="order")):
        sent = headers_of(msgspec.structs.replace(message, metadata=metadata), None)
        Draft7Validator(schema).validate(sent)
        assert sent.keys() == schema["properties"].keys()


def test_each_owner_sends_its_events_and_receives_its_commands() -> None:
    operations = DOCUMENT["operations"]
    assert operations["order.send.order-events"]["action"] == "send"
    assert operations["payment.receive.payment-commands"]["action"] == "receive"
    assert len(operations) == len(TOPICS)
    for operation in operations.values():
        channel = found(operation["channel"]["$ref"])
        prefix = f"{operation['channel']['$ref']}/messages/"
        assert {reference["$ref"].removeprefix(prefix) for reference in operation["messages"]} == set(
            channel["messages"]
        )


def test_who_listens_to_others_is_added_where_it_is_known() -> None:
    operations = document({"inventory": {ORDER_EVENTS: {OrderCompleted}}})["operations"]
    assert operations["inventory.receive.order-events"] == {
        "action": "receive",
        "channel": {"$ref": "#/channels/order-events"},
        "title": "inventory receives order-events",
        "messages": [{"$ref": "#/channels/order-events/messages/OrderCompleted"}],
    }
