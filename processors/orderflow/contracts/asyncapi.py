"""The AsyncAPI 3.0 document of everything that goes over the broker, generated from the types.

Who sends and who receives follows from the topics: a context's events come from it, a context's commands go to it.
Who else listens to an event is known to the contexts; whoever has them at hand says so in ``takes``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from orderflow.contracts.envelope import Message
from orderflow.contracts.headers import CONTENT_TYPE, NO_SOURCE, TRACEPARENT
from orderflow.contracts.registry import TYPES
from orderflow.contracts.schemas import components
from orderflow.contracts.topics import TOPIC_OF, TOPICS, dead_letter_topic

Takes = Mapping[str, Mapping[str, Iterable[type[Message]]]]
"""Per context and topic, the types that mean something to it."""

VERSION = "1.0.0"
"""Of the contracts as a whole; its major is that of the messages."""
EVENTS = "-events"
COMMANDS = "-commands"


def document(takes: Takes | None = None) -> dict[str, Any]:
    """Return the document; with ``takes`` it also has every context's receiving operations."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OrderFlow",
            "version": VERSION,
            "description": (
                "Commands and events of the order saga. Topics may carry a prefix. What a reader cannot decide goes "
                f"to a topic beside the one it came from, as {dead_letter_topic(TOPICS[0])}. Within a major version "
                "only optional fields are added, and readers ignore those they do not know."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic: _channel(topic) for topic in TOPICS},
        "operations": dict(sorted(_operations(takes or {}).items())),
        "components": {
            "messages": {name: _message(kind) for name, kind in sorted(TYPES.items())},
            "schemas": {"Headers": HEADERS, **components(TYPES.values(), "#/components/schemas/{name}")},
        },
    }


HEADERS: dict[str, Any] = {
    "title": "Headers",
    "description": "CloudEvents 1.0 in binary mode, and the W3C trace context.",
    "type": "object",
    "properties": {
        "content-type": {"const": CONTENT_TYPE},
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "description": "the eventId"},
        "ce_type": {"type": "string", "minLength": 1, "description": "the eventType"},
        "ce_source": {
            "type": "string",
            "format": "uri-reference",
            "description": f"the context that sends it, as in /orderflow/order; /orderflow/{NO_SOURCE} without one",
        },
        "ce_time": {"type": "string", "format": "date-time", "description": "when what the message tells happened"},
        "ce_subject": {"type": "string", "description": "the record's key"},
        "ce_dataschema": {"type": "string", "format": "uri", "description": "the $id of the payload's schema"},
        TRACEPARENT: {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"},
    },
    "required": ["content-type", "ce_specversion", "ce_id", "ce_type", "ce_source"],
}


def _messages_of(topic: str) -> list[str]:
    return sorted(kind.__name__ for kind, where in TOPIC_OF.items() if where == topic)


def _channel(topic: str) -> dict[str, Any]:
    owner = topic.removesuffix(EVENTS).removesuffix(COMMANDS)
    what = f"What happened in the {owner} context." if topic.endswith(EVENTS) else f"What is asked of {owner}."
    return {
        "address": topic,
        "description": what,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages_of(topic)},
    }


def _operations(takes: Takes) -> dict[str, Any]:
    owned = [_operation(*_owner_and_action(topic), topic, _messages_of(topic)) for topic in TOPICS]
    taken = [
        _operation(context, "receive", topic, sorted(kind.__name__ for kind in kinds))
        for context, topics in takes.items()
        for topic, kinds in topics.items()
    ]
    return dict(owned + taken)


def _owner_and_action(topic: str) -> tuple[str, str]:
    if topic.endswith(EVENTS):
        return topic.removesuffix(EVENTS), "send"
    return topic.removesuffix(COMMANDS), "receive"


def _operation(context: str, action: str, topic: str, names: list[str]) -> tuple[str, dict[str, Any]]:
    return f"{context}.{action}.{topic}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "title": f"{context} {action}s {topic}",
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
    }


def _message(kind: type[Message]) -> dict[str, Any]:
    name = kind.__name__
    return {
        "name": name,
        "title": name,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "contentType": CONTENT_TYPE,
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "correlationId": {"location": "$message.payload#/metadata/correlationId"},
        "bindings": {"kafka": {"key": {"type": "string", "description": _key(kind)}, "bindingVersion": "0.5.0"}},
    }


def _key(kind: type[Message]) -> str:
    first, *rest = kind.KEY.split("_")
    return f"the {first}{''.join(part.title() for part in rest)}"
