"""Minor units as an outside system counts them, where they differ from ISO 4217.

A connector brings the exceptions of its vendor: the module of its entry point has a mapping `CURRENCIES`. A system may
declare its own ones, which replace the connector's. Every other currency is as in ISO 4217.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points

import msgspec

from counterfoil.core.money import EXACT, Inexact, Money, MoneyError, OutOfRange, exponent

CONNECTORS = "counterfoil.connectors"
"""Group of entry points of the connectors."""
MAX_DECIMALS = 6
_MAX_DIGITS = 30


class MinorUnit(msgspec.Struct, frozen=True):
    """Minor unit of one currency in one system."""

    decimals: int
    """Number of decimals between the system's major and minor units."""
    multiple_of: int = 1
    """The system takes only amounts that are a multiple of this number of its minor units."""

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= MAX_DECIMALS or self.multiple_of < 1:
            raise MoneyError(f"no minor unit has {self.decimals} decimals and steps of {self.multiple_of}")


class MinorUnits(msgspec.Struct, frozen=True):
    """Minor units of one system: its own declarations, then those of its connector, then ISO 4217."""

    system: str
    connector: str
    declared: tuple[tuple[str, MinorUnit], ...] = ()
    sends: bool = True
    """Amounts go to the system, so they must be a multiple of the unit's step. What it shows need not be."""

    def of(self, currency: str) -> MinorUnit:
        """Return the unit of a currency. Raises MoneyError for a code outside ISO 4217."""
        iso = exponent(currency)
        for code, unit in self.declared:
            if code == currency:
                return unit
        return vendor_units(self.connector).get(currency) or MinorUnit(iso)

    def read(self, number: Decimal, currency: str) -> Money:
        """Return the amount of a whole number of the system's minor units.

        Raises Inexact if ISO 4217 cannot express the amount: 550 hundredths of a currency without decimals.
        """
        if not number.is_finite() or abs(number.adjusted()) > _MAX_DIGITS:
            raise OutOfRange(f"{number} {currency} is outside the range of amounts")
        major = number.scaleb(-self.of(currency).decimals, EXACT)
        try:
            return Money.from_major(major, currency)
        except Inexact:
            text = f"{number} minor units of {self.system} are {major:f} {currency}"
            raise Inexact(f"{text}, but {currency} has {_decimals(exponent(currency))}") from None

    def major(self, amount: Money) -> Decimal:
        """Return major units with the system's number of decimals. Raises Inexact as `write` does."""
        return Decimal(self.write(amount)).scaleb(-self.of(amount.currency).decimals, EXACT)

    def write(self, amount: Money) -> int:
        """Return the amount in minor units of the system. Raises Inexact if the system does not take this amount."""
        unit = self.of(amount.currency)
        minor = amount.major().scaleb(unit.decimals, EXACT)
        if minor != minor.to_integral_value(ROUND_DOWN, EXACT):
            takes = f"takes {amount.currency} with {_decimals(unit.decimals)}"
            raise Inexact(f"{amount} cannot be sent: {self.system} {takes}; round it first, by a named rule")
        if self.sends and int(minor) % unit.multiple_of:
            step = Decimal(unit.multiple_of).scaleb(-unit.decimals, EXACT)
            takes = f"takes {amount.currency} in multiples of {step:f}"
            raise Inexact(f"{amount} cannot be sent: {self.system} {takes}; round it first, by a named rule")
        return int(minor)

    @property
    def has_exceptions(self) -> bool:
        return bool(self.declared or vendor_units(self.connector))


def _decimals(count: int) -> str:
    return "no decimals" if count == 0 else f"{count} decimal{'s' if count > 1 else ''}"


@lru_cache(maxsize=128)
def vendor_units(connector: str) -> Mapping[str, MinorUnit]:
    """Return the exceptions of an installed connector; none for a connector that is not installed or cannot be imported.

    Building the connector reports those errors.
    """
    for point in entry_points(group=CONNECTORS, name=connector):
        try:
            units: Mapping[str, MinorUnit] = getattr(import_module(point.module), "CURRENCIES", {})
        except ImportError:
            return {}
        return dict(units)
    return {}
