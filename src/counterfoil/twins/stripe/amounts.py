"""Money arithmetic of the twin. Amounts are integer minor units; prices and rates are exact decimals.

Inexact products and shares are rounded half away from zero, once per invoice line and once per line and tax rate. Totals
are sums of rounded parts, so parts always add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction


def round_half_up(value: Decimal | Fraction) -> int:
    """Return the nearest integer, halves away from zero."""
    if isinstance(value, Decimal):
        return int(value.quantize(Decimal(1), ROUND_HALF_UP))
    size = abs(value)
    rounded = (2 * size.numerator + size.denominator) // (2 * size.denominator)
    return rounded if value >= 0 else -rounded


def line_amount(unit_amount: str, quantity: int) -> int:
    """Return `unit_amount_decimal` times quantity, rounded once."""
    return round_half_up(Decimal(unit_amount) * quantity)


def share(amount: int, part: int, of: int) -> int:
    """Return `amount * part / of`, rounded once."""
    return round_half_up(Fraction(amount * part, of))


def taxes(amount: int, rates: Sequence[tuple[Decimal, bool]]) -> list[int]:
    """Return the tax of each (percentage, inclusive) rate on one line of `amount`.

    Inclusive rates are all contained in the amount; exclusive rates apply to the remainder without them.
    """
    inclusive = sum((Fraction(rate) for rate, is_inclusive in rates if is_inclusive), Fraction(0))
    net = Fraction(amount) / (1 + inclusive / 100)
    base = net if inclusive else Fraction(amount)
    return [round_half_up(base * Fraction(rate) / 100) for rate, _ in rates]


def decimal_text(value: Decimal) -> str:
    """Return a decimal as the vendor writes it: no exponent, no trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
