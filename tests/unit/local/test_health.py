"""What a process says of itself, in few words."""

import pytest

from orderflow.local.health import detail_of, lag_in


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"status": "ready", "checks": {"database": {"ok": true}}}', ""),
        (
            b'{"checks": {"database": {"ok": false, "reason": "locked"}, "broker": {"ok": false}}}',
            "database: locked; broker",
        ),
        (
            b'{"checks": [{"name": "relay", "ok": false, "detail": "starting"}, {"name": "a", "ok": true}]}',
            "relay: starting",
        ),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_the_failed_checks_are_named_with_their_reasons(body: bytes, detail: str) -> None:
    assert detail_of(body) == detail


def test_lag_is_summed_over_partitions() -> None:
    metrics = (
        b"# HELP orderflow_consumer_lag Messages not yet recorded\n"
        b'orderflow_consumer_lag{partition="0",topic="order-commands"} 3.0\n'
        b'orderflow_consumer_lag{partition="1",topic="order-commands"} 4.0\n'
        b"orderflow_outbox_depth 9.0\n"
    )
    assert lag_in(metrics) == 7


def test_a_process_that_tells_of_no_lag_has_none() -> None:
    assert lag_in(b"orderflow_outbox_depth 9.0\n") is None
