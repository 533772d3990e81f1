"""From what pods say to the numbers that gates are about."""

import math

import msgspec
import pytest
from prometheus_client.exposition import generate_latest

from orderflow.runtime.telemetry import Telemetry
from orderflow_operator.measuring.prometheus import filled_in, number, selector
from orderflow_operator.measuring.readings import Reading, reading
from orderflow_operator.measuring.values import (
    error_rate,
    lag_growth,
    letters_seen,
    processing_p95,
    quantile,
    rate,
    spans,
)


def text_of(telemetry: Telemetry) -> str:
    return generate_latest(telemetry.registry).decode()


def test_a_reading_understands_what_a_processor_says() -> None:
    telemetry = Telemetry("payment")
    telemetry.batch_recorded({("PaymentRequested", "applied"): 8, ("PaymentRequested", "dead"): 2}, 10, 0.02)
    telemetry.lag.labels("payment-commands", "3").set(7)
    telemetry.share.set(2)
    telemetry.assigned.set(1)
    said = reading(text_of(telemetry), at=5.0)
    assert (said.processed, said.failed) == (10, 2)
    assert said.buckets[0.025] == said.buckets[math.inf] == 1
    assert said.lag == {("payment-commands", "3"): 7}
    assert (said.member, said.allowed, said.assigned) == (False, 2, 1)
    assert said.started > 0


def after(seconds: float = 10.0, **changes: object) -> Reading:
    return msgspec.convert({"at": 100.0 + seconds, "started": 1.0, **changes}, Reading)


BEFORE = Reading(at=100.0, started=1.0, processed=100, failed=10)


def test_the_error_rate_is_of_what_has_come_since() -> None:
    between = spans({"a": BEFORE}, {"a": after(processed=200.0, failed=15.0)})
    assert (error_rate(between).number, error_rate(between).samples) == (0.05, 100)


def test_a_pod_that_began_anew_did_all_that_it_counts() -> None:
    between = spans({"a": BEFORE}, {"a": Reading(at=110.0, started=9.0, processed=10, failed=5)})
    assert error_rate(between).number == 0.5


def test_calls_that_have_to_be_made_again_are_errors_where_there_are_enough() -> None:
    few = spans({"a": BEFORE}, {"a": after(processed=200.0, failed=10.0, calls=10.0, retries=9.0)})
    many = spans({"a": BEFORE}, {"a": after(processed=200.0, failed=10.0, calls=100.0, retries=30.0)})
    assert error_rate(few).number == 0
    assert error_rate(many).number == 0.3


def test_without_messages_there_is_no_rate() -> None:
    between = spans({"a": BEFORE}, {"a": after(processed=100.0, failed=10.0)})
    assert error_rate(between).number is None
    assert processing_p95(between).number is None


def test_lag_that_came_with_a_partition_is_not_its_new_owner_s() -> None:
    before = Reading(at=100.0, started=1.0, lag={("t", "0"): 50.0})
    between = spans({"a": before}, {"a": Reading(at=110.0, started=1.0, lag={("t", "0"): 70.0, ("t", "1"): 9000.0})})
    assert lag_growth(between).number == 2.0
    assert lag_growth(spans({}, {"a": before})).number is None


def test_a_letter_counts_once_however_many_of_stable_s_pods_have_looked_at_it() -> None:
    telemetry = Telemetry("payment")
    telemetry.judged.labels("new", "revision").set(2)
    telemetry.judged.labels("new", "message").set(1)
    said = reading(text_of(telemetry), at=5.0)
    found = letters_seen({"a": said, "b": said}, "new")
    assert (found.its_own, found.shared) == (2, 1)
    assert letters_seen({"a": said}, "newer").its_own == 0


def test_the_rate_is_per_second() -> None:
    assert rate(spans({"a": BEFORE}, {"a": after(processed=200.0)})) == 10


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({0.1: 100, 0.2: 100, math.inf: 100}, 0.095),
        ({0.1: 90, 0.2: 100, math.inf: 100}, 0.15),
        ({0.1: 0, 0.2: 50, math.inf: 100}, 0.2),
    ],
)
def test_a_quantile_is_straight_within_its_bucket(counts: dict[float, float], expected: float) -> None:
    assert quantile(0.95, counts) == pytest.approx(expected)


def test_a_query_is_filled_in_for_one_revision() -> None:
    selects = selector(namespace="shop", name="orders", processor="payment", revision="abc")
    filled = filled_in("sum(rate(x{ {{ selector }} }[{{interval}}]))", selects, 30.0)
    expected = 'sum(rate(x{ namespace="shop",orderflow="orders",component="payment",revision="abc" }[30s]))'
    assert filled == expected


@pytest.mark.parametrize(
    ("kind", "result", "expected", "why"),
    [
        ("vector", b'[{"metric": {}, "value": [1, "2.5"]}]', 2.5, ""),
        ("vector", b"[]", None, "no series"),
        ("vector", b'[{"value": [1, "1"]}, {"value": [1, "2"]}]', None, "the query gives 2 series, expected one"),
        ("vector", b'[{"value": [1, "NaN"]}]', None, "the query gives NaN"),
        ("scalar", b'[1, "4"]', 4.0, ""),
        ("matrix", b"[]", None, "the query gives a matrix, expected one number"),
    ],
    ids=["one series", "none", "several", "not a number", "a scalar", "a range"],
)
def test_an_answer_is_one_number_or_says_why_not(kind: str, result: bytes, expected: float | None, why: str) -> None:
    value = number(kind, msgspec.Raw(result))
    assert (value.number, value.why) == (expected, why)
