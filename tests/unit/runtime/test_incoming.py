"""What a broker may carry and a database does not take: no such record may stop its partition."""

import msgspec

from orderflow.runtime.incoming import LONGEST_KEY, read, record_of

CANCELLED = msgspec.json.encode({"orderId": "o-1", "cancellationReason": "x", "cancelledAt": "2025-01-01T00:00:00Z"})


def test_a_key_or_header_with_nul_becomes_text_that_every_database_takes() -> None:
    record = record_of(
        "order-events", 0, 7, b"a\0b", CANCELLED, [("ce_id", b"x\0y"), ("odd\0", None), ("bytes", b"\xff")]
    )
    assert record.key == "a\ufffdb"
    assert record.headers == {"ce_id": "x\ufffdy", "odd\ufffd": "", "bytes": "\ufffd"}


def test_an_id_from_a_header_with_nul_can_be_recorded() -> None:
    headers = [("ce_type", b"OrderCancelled"), ("ce_id", b"x\0y")]
    assert read(record_of("order-events", 0, 7, b"o-1", CANCELLED, headers)).event_id == "x\ufffdy"


def test_a_key_that_no_column_holds_is_cut() -> None:
    assert len(record_of("order-events", 0, 7, b"k" * 500, CANCELLED, []).key) == LONGEST_KEY
