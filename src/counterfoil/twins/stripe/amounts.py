"""Money arithmetic of the twin. Amounts are integer minor units; prices and rates are exact decimals.

The rounding rule, used at every place where a product or a share is inexact: half away from zero, once per
invoice line and once per line and tax rate. Totals are sums of rounded parts, so parts always add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction


def whole(value: Decimal | Fraction) -> int:
    """The nearest integer, halves away from zero."""
    if isinstance(value, Decimal):
        return int(value.quantize(Decimal(1), ROUND_HALF_UP))
    size = abs(value)
    rounded = (2 * size.numerator + size.denominator) // (2 * size.denominator)
    return rounded if value >= 0 else -rounded


def priced(unit_amount: str, quantity: int) -> int:
    """`unit_amount_decimal` times quantity, rounded once."""
    return whole(Decimal(unit_amount) * quantity)


def share(amount: int, part: int, of: int) -> int:
    """`amount * part / of`, rounded once."""
    return whole(Fraction(amount * part, of))


def taxes(amount: int, rates: Sequence[tuple[Decimal, bool]]) -> list[int]:
    """The tax of each (percentage, inclusive) rate on one line of `amount`.

    Inclusive rates are all contained in the amount; exclusive rates are taken on what remains without them.
    """
    inclusive = sum((Fraction(rate) for rate, inside in rates if inside), Fraction(0))
    net = Fraction(amount) / (1 + inclusive / 100)
    base = net if inclusive else Fraction(amount)
    return [whole(base * Fraction(rate) / 100) for rate, _ in rates]


def decimal_text(value: Decimal) -> str:
    """A decimal as the vendor writes it: no exponent, no trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
