"""CloudEvents headers and the trace context."""

from datetime import UTC, datetime

import pytest

from orderflow.contracts.envelope import Metadata
from orderflow.contracts.events import OrderCompleted, ProductChanged
from orderflow.contracts.headers import TraceParent, headers_of, parse_traceparent, trace_id_of
from orderflow.contracts.money import ZERO

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)


def completed(event_id: str = "e-1", order_id: str = "o-1", metadata: Metadata | None = None) -> OrderCompleted:
    metadata = metadata or Metadata(source="order", correlation_id="story-1")
    return OrderCompleted(event_id=event_id, order_id=order_id, metadata=metadata, completed_at=NOON)


def test_a_message_is_a_cloud_event_in_binary_mode() -> None:
    headers = headers_of(completed(), None)
    del headers["traceparent"]
    assert headers == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "e-1",
        "ce_type": "OrderCompleted",
        "ce_source": "/orderflow/order",
        "ce_time": "2026-02-10T12:00:00Z",
        "ce_subject": "o-1",
        "ce_dataschema": "urn:orderflow:contracts:OrderCompleted:v1",
    }


def test_the_subject_is_the_key_also_where_that_is_no_order() -> None:
    product = ProductChanged(
        event_id="e", product_id="p-1", name="Lamp", price=ZERO, available=1, version=1, changed_at=NOON
    )
    assert headers_of(product, None)["ce_subject"] == "p-1"


@pytest.mark.parametrize(
    ("source", "written"), [("", "/orderflow/unknown"), ("Order Service/ü", "/orderflow/Order%20Service%2F%C3%BC")]
)
def test_the_source_is_always_a_uri_reference(source: str, written: str) -> None:
    assert headers_of(completed(metadata=Metadata(source=source)), None)["ce_source"] == written


def test_the_trace_of_the_cause_goes_on_with_a_span_of_its_own() -> None:
    cause = f"00-{TRACE}-{SPAN}-01"
    parsed = parse_traceparent(headers_of(completed(), cause)["traceparent"])
    assert parsed is not None
    assert parsed.trace_id == TRACE
    assert parsed.parent_id != SPAN
    assert parsed.sampled


def test_whether_the_trace_is_sampled_goes_on_as_well() -> None:
    assert headers_of(completed(), f"00-{TRACE}-{SPAN}-00")["traceparent"].endswith("-00")


def test_without_a_cause_all_messages_of_one_story_share_a_trace() -> None:
    one, other = (headers_of(completed(event_id), None)["traceparent"] for event_id in ("e-1", "e-2"))
    assert trace_id_of(one) == trace_id_of(other)
    assert one != other
    another_story = completed(metadata=Metadata(correlation_id="story-2"))
    assert trace_id_of(headers_of(another_story, None)["traceparent"]) != trace_id_of(one)


def test_without_a_correlation_id_the_order_is_the_story() -> None:
    one, other = (headers_of(completed(event_id, metadata=Metadata()), None) for event_id in ("e-1", "e-2"))
    assert trace_id_of(one["traceparent"]) == trace_id_of(other["traceparent"])


def test_the_same_message_has_the_same_headers_for_ever() -> None:
    assert headers_of(completed(), None)["traceparent"] == ("00-4ecfa8e0c68c5d90a83b37f59366345f-ded5aaa9476d50fb-01")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (f"00-{TRACE}-{SPAN}-00", TraceParent(TRACE, SPAN, sampled=False)),
        (f"00-{TRACE}-{SPAN}-01", TraceParent(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-03", TraceParent(TRACE, SPAN, sampled=True)),
        (f"01-{TRACE}-{SPAN}-01", TraceParent(TRACE, SPAN, sampled=True)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", TraceParent(TRACE, SPAN, sampled=True)),
    ],
)
def test_a_valid_traceparent_is_read(text: str, parsed: TraceParent) -> None:
    assert parse_traceparent(text) == parsed
    assert trace_id_of(text) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "garbage",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}x-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"01-{TRACE}-{SPAN}-01extra",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_is_ignored(text: str | None) -> None:
    assert parse_traceparent(text) is None
    assert trace_id_of(text) is None
    assert headers_of(completed(), text) == headers_of(completed(), None)
