"""Amounts of money: exact decimals with two places, written as JSON strings."""

from decimal import Decimal, InvalidOperation

CENT = Decimal("0.01")
ZERO = Decimal("0.00")
LARGEST_TOTAL = Decimal("9999999999.99")
"""Twelve digits: what an order may cost at the most, so that a total fits NUMERIC(12, 2) everywhere."""


def amount(value: Decimal | int | str) -> Decimal:
    """Return ``value`` with exactly two places.

    Raises:
        ValueError: if ``value`` is no finite number or has a fraction of a cent. Nothing is rounded in silence.
    """
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"an amount is a finite number, got {value}")
    try:
        exact = number.quantize(CENT)
    except InvalidOperation:
        raise ValueError(f"an amount has at most 26 digits before the point, got {value}") from None
    if exact != number:
        raise ValueError(f"an amount has at most two decimal places, got {value}")
    return exact
