"""What a notification says, and how an address is written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.contexts.notification.addresses import masked
from orderflow.contexts.notification.state import OUTCOME_OF
from orderflow.contexts.notification.templates import TEMPLATES, render


def test_every_outcome_has_words() -> None:
    assert set(TEMPLATES) == set(OUTCOME_OF.values())


@pytest.mark.parametrize("template", [*TEMPLATES, "survey"])
def test_a_missing_parameter_leaves_nothing_behind(template: str) -> None:
    text = render(template, {"orderId": "order-1"})
    assert "order-1" in text.subject
    assert "order-1" in text.body
    assert not set("{}") & set(text.subject + text.body)
    assert not any(line != line.strip() for line in text.body.split("\n"))


def test_known_parameters_stand_in_the_text() -> None:
    text = render("order-shipped", {"orderId": "order-1", "carrier": "Swift", "trackingNumber": "T-1"})
    assert text.body == "Your order order-1 has left. Swift T-1"


def test_an_unknown_template_has_the_fallbacks_words() -> None:
    assert render("survey", {"orderId": "order-1", "message": "How was it?"}) == (
        "News about your order order-1",
        "There is news about your order order-1. How was it?",
    )


def test_a_parameter_is_a_value_and_no_template() -> None:
    text = render("payment-failed", {"orderId": "{reason} {0.__class__}", "reason": "declined"})
    assert text.subject == "Payment for your order {reason} {0.__class__} failed"


@given(template=st.sampled_from([*TEMPLATES, "survey"]), parameters=st.dictionaries(st.text(), st.text()))
def test_a_subject_is_one_line_whatever_the_parameters(template: str, parameters: dict[str, str]) -> None:
    assert len(render(template, {"orderId": "a\r\nBcc: everyone", **parameters}).subject.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada@example.com", "a***@example.com"),
        ("@example.com", "***@example.com"),
        ("+441234567", "***67"),
        ("1234", "***"),
        ("", "***"),
    ],
)
def test_an_address_is_masked(address: str, shown: str) -> None:
    assert masked(address) == shown
