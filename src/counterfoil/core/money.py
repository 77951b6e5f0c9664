"""Exact money: whole minor units and an ISO 4217 code, named rounding, allocation that sums to the total.

This module has no exchange rates and no locale formats. Amounts fit 64-bit integers, as in the stores and on the wire;
a larger amount is refused, never wrapped or rounded.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Self

import msgspec

from counterfoil.core.errors import CounterfoilError

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

# ISO 4217 list one, by number of decimals; codes without a minor unit (gold, SDR, test codes) are not money here.
_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
          CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD
          HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT
          MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR
          SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN
          UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# Withdrawn from 2021 on: ledgers, credits and restatements still carry them.
_RECENTLY_WITHDRAWN = "ANG BGN CUC HRK SLL ZWL"

EXPONENTS: dict[str, int] = {
    code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()
} | dict.fromkeys(_RECENTLY_WITHDRAWN.split(), 2)

EXACT = decimal.Context(
    prec=decimal.MAX_PREC,
    Emax=decimal.MAX_EMAX,
    Emin=decimal.MIN_EMIN,
    traps=[decimal.InvalidOperation, decimal.Overflow],
)


class MoneyError(CounterfoilError, ValueError):
    """The amount cannot be represented or computed exactly."""


class CurrencyMismatch(MoneyError):
    """One operation has two currencies. Convert one of them first, with a stated rate and date."""


class Inexact(MoneyError):
    """The amount has more decimals than its currency, and no rounding rule was named."""


class OutOfRange(MoneyError):
    """The amount does not fit 64 bits of minor units."""


class Rounding(StrEnum):
    """Named rounding rules. `up` and `down` mean away from and towards zero; ceiling and floor follow the sign."""

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"
    HALF_DOWN = "half_down"
    UP = "up"
    DOWN = "down"
    CEILING = "ceiling"
    FLOOR = "floor"

    @property
    def mode(self) -> str:
        """The name of the same rule in the `decimal` module."""
        return f"ROUND_{self.name}"


def exponent(currency: str) -> int:
    """Return the number of decimals between major and minor units. Raises MoneyError for a code outside ISO 4217."""
    try:
        return EXPONENTS[currency]
    except (KeyError, TypeError):
        raise MoneyError(f"{currency!r} is not an ISO 4217 currency code with a minor unit") from None


def round_decimal(value: Decimal, digits: int, rule: Rounding) -> Decimal:
    """Return `value` with exactly `digits` decimals (negative: tens, hundreds), by `rule`; the decimal context has no effect."""
    _check_finite(value)
    if abs(digits) > 100 or abs(value.adjusted()) > 1000:
        raise OutOfRange(f"cannot round to {digits} digits: outside the range of amounts")
    return value.quantize(Decimal(1).scaleb(-digits, EXACT), rounding=rule.mode, context=EXACT)


def _check_finite(value: Decimal) -> None:
    if not value.is_finite():
        raise MoneyError(f"{value} is not an amount")


def _whole(value: Decimal, rule: Rounding | None, what: str) -> int:
    """Return minor units as an int, by `rule`. Raises Inexact if they are not whole and there is no rule."""
    _check_finite(value)
    if value.adjusted() > 19:  # before int(): 1E+999999 must not build a million digits
        raise OutOfRange(f"{what} does not fit 64 bits of minor units")
    rounded = value.to_integral_value(rule.mode if rule else decimal.ROUND_DOWN, context=EXACT)
    if rule is None and rounded != value:
        raise Inexact(f"{what} is not a whole number of minor units; name a rounding rule")
    return int(rounded)


class Money(msgspec.Struct, frozen=True, gc=False):
    """Amount of `minor` units (cents, or whole yen) in one ISO 4217 `currency`.

    Amounts of different currencies are never equal; `+`, `-` and ordering raise CurrencyMismatch. `*` takes an int. Use
    `times` or `allocate` for everything that rounds.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise MoneyError(f"minor units must be an int, not {type(self.minor).__name__}")
        if not INT64_MIN <= self.minor <= INT64_MAX:
            raise OutOfRange("the amount does not fit 64 bits of minor units")
        if self.currency not in EXPONENTS:
            exponent(self.currency)

    @classmethod
    def from_major(cls, amount: Decimal | int, currency: str, rule: Rounding | None = None) -> Self:
        """Return money from major units (12.34). Raises Inexact if the amount has more decimals and `rule` is None."""
        places = exponent(currency)
        if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
            raise MoneyError(f"major units must be a Decimal or an int, not {type(amount).__name__}")
        exact = Decimal(amount)
        _check_finite(exact)
        return cls(_whole(exact.scaleb(places, EXACT), rule, f"{amount} {currency}"), currency)

    def major(self) -> Decimal:
        """Return major units with exactly the currency's number of decimals."""
        return Decimal(self.minor).scaleb(-EXPONENTS[self.currency], EXACT)

    def times(self, factor: Decimal | int, rule: Rounding) -> Self:
        """Return the amount times `factor`, rounded once to minor units by `rule`."""
        product = EXACT.multiply(Decimal(self.minor), Decimal(factor))
        return type(self)(_whole(product, rule, f"{self} times {factor}"), self.currency)

    def _same(self, other: Money, verb: str) -> None:
        if self.currency != other.currency:
            both = f"{self.currency} and {other.currency}"
            raise CurrencyMismatch(f"cannot {verb} {both}; convert one of them first")

    def __add__(self, other: Money) -> Self:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "add")
        return type(self)(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Self:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "subtract")
        return type(self)(self.minor - other.minor, self.currency)

    def __mul__(self, factor: int) -> Self:
        if isinstance(factor, bool) or not isinstance(factor, int):
            return NotImplemented
        return type(self)(self.minor * factor, self.currency)

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return type(self)(-self.minor, self.currency)

    def __abs__(self) -> Self:
        return type(self)(abs(self.minor), self.currency)

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.minor < other.minor

    def __le__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.minor <= other.minor

    def __gt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.minor > other.minor

    def __ge__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.minor >= other.minor

    def __str__(self) -> str:
        return f"{self.major():f} {self.currency}"

    def grouped(self) -> str:
        """Return the amount for people, with thousands separators: `27,062.50 USD`."""
        return f"{self.major():,f} {self.currency}"


def allocate(total: Money, weights: Sequence[int | Decimal]) -> list[Money]:
    """Divide `total` over `weights` by largest remainder: the parts sum to the total, to the cent.

    Each part is its exact share rounded towards zero, plus one unit for the largest remainders. Ties go to the earlier
    position: the same input always gives the same parts. Weights are zero or more, and at least one is above zero.
    """
    shares = _integer_weights(weights)
    whole = sum(shares)
    if whole == 0:
        reason = "cannot allocate over weights that are all zero" if shares else "no weights to allocate over"
        raise MoneyError(reason)
    amount, sign = abs(total.minor), -1 if total.minor < 0 else 1
    parts = [divmod(amount * share, whole) for share in shares]
    units = [part[0] for part in parts]
    for position in sorted(range(len(parts)), key=lambda i: -parts[i][1])[: amount - sum(units)]:
        units[position] += 1
    return [Money(sign * unit, total.currency) for unit in units]


def split(total: Money, n: int) -> list[Money]:
    """Divide `total` into `n` parts that differ by at most one minor unit, the larger parts first."""
    if n < 1:
        raise MoneyError(f"cannot split into {n} parts")
    return allocate(total, [1] * n)


def _integer_weights(weights: Sequence[int | Decimal]) -> list[int]:
    """Return the same proportions as integers. Refuses negative weights and extreme scales."""
    smallest = 0
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | Decimal):
            raise MoneyError(f"a weight must be an int or a Decimal, not {type(weight).__name__}")
        if isinstance(weight, Decimal):
            _check_finite(weight)
            low, high = weight.as_tuple().exponent, weight.adjusted()
            if not isinstance(low, int) or low < -100 or high > 100:
                raise OutOfRange(f"the weight {weight} is outside the range of weights")
            smallest = min(smallest, low)
        if weight < 0:
            raise MoneyError(f"cannot allocate over the negative weight {weight}")
    if smallest == 0:
        return [int(weight) for weight in weights]
    return [int(Decimal(weight).scaleb(-smallest, EXACT)) for weight in weights]
