"""The words of each notification. They change with the code, so that a replay writes what was written.

A placeholder is replaced by the parameter of its name, and by nothing where there is none. Parameters are values only:
braces in them stay as they are.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Text(NamedTuple):
    """What is sent. SMS and push providers use the body alone."""

    subject: str
    body: str


TEMPLATES: Mapping[str, Text] = {
    "payment-failed": Text(
        "Payment for your order {orderId} failed",
        "We could not take the payment for your order {orderId}. {reason}\nYou have not been charged.",
    ),
    "order-completed": Text(
        "Your order {orderId} is complete",
        "Thank you for your order {orderId}. Everything about it is settled.",
    ),
    "order-cancelled": Text(
        "Your order {orderId} was cancelled",
        "Your order {orderId} was cancelled. {reason}\nIf you had been charged, the amount is refunded.",
    ),
    "order-shipped": Text(
        "Your order {orderId} is on its way",
        "Your order {orderId} has left. {carrier} {trackingNumber}",
    ),
}
"""By outcome; the parameters they know are ``orderId``, ``reason``, ``carrier`` and ``trackingNumber``."""

FALLBACK = Text("News about your order {orderId}", "There is news about your order {orderId}. {message}")
"""For a template that nobody wrote; its parameters are ``orderId`` and ``message``."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_BLANKS = re.compile(r"[^\S\n]+")


def render(template: str, parameters: Mapping[str, str]) -> Text:
    """Return the text of ``template``. Total: an unknown template has the fallback's words.

    The subject is always a single line, whatever the parameters contain: a line break would end a mail's header.
    """
    text = TEMPLATES.get(template, FALLBACK)
    subject = " ".join(_filled(text.subject, parameters).split())
    lines = (_BLANKS.sub(" ", line).strip() for line in _filled(text.body, parameters).split("\n"))
    return Text(subject, "\n".join(lines))


def _filled(text: str, parameters: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: parameters.get(found[1], ""), text)
