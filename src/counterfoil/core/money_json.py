"""The JSON form of money that callers send and read: `{"amount": "12.30", "currency": "USD", "minor": 1230}`.

`amount` or `minor` may be missing; if both are present, they agree. No float is read: `amount` is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from counterfoil.core.money import EXPONENTS, Inexact, Money, MoneyError

AMOUNT_PATTERN = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?$"
"""Form of `amount`: exact decimal text in major units."""
NOT_MONEY = "is not a valid amount in an ISO 4217 currency"
_AMOUNT = re.compile(AMOUNT_PATTERN[1:-1])
_FIELDS = frozenset({"amount", "currency", "minor"})


class MoneyFault(NamedTuple):
    """Reason why an object with `amount` is not money, at one of its fields; `""` is the object itself."""

    field: str
    message: str


def read_money(value: Any) -> Money | None:
    """Return the money of a JSON value in one of its forms; None for any other value."""
    if type(value) is not dict or not value.keys() <= _FIELDS:
        return None
    if "amount" in value:
        return _money_or_faults(value)[0]
    try:
        return Money(value["minor"], value["currency"])
    except (KeyError, MoneyError, TypeError):
        return None


def money_faults(value: Mapping[str, Any]) -> list[MoneyFault]:
    """Return what is wrong with an object that should be money.

    The schema checks the form without `amount`, except for the currency and the range of the number.
    """
    return _money_or_faults(value)[1]


def _money_or_faults(value: Mapping[str, Any]) -> tuple[Money | None, list[MoneyFault]]:
    """Return the money of an object with `amount`, or what is wrong with it."""
    currency, minor = value.get("currency"), value.get("minor", 0)
    has_currency = isinstance(currency, str) and currency in EXPONENTS
    if "amount" not in value:
        is_form = value.keys() == {"minor", "currency"} and isinstance(currency, str) and type(minor) is int
        return None, [MoneyFault("", NOT_MONEY)] if is_form and read_money(value) is None else []
    faults = [MoneyFault(name, "is not part of money") for name in value if name not in _FIELDS]
    if "currency" not in value:
        faults.append(MoneyFault("currency", "is missing: name an ISO 4217 currency"))
    elif not has_currency:
        faults.append(MoneyFault("", NOT_MONEY))
    amount = value["amount"]
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        faults.append(MoneyFault("amount", 'must be decimal text in major units, such as "12.30"'))
    if type(minor) is not int:
        faults.append(MoneyFault("minor", "must be a whole number of minor units"))
    if faults:
        return None, faults
    try:
        money = Money.from_major(Decimal(amount), value["currency"])
    except Inexact:
        return None, [MoneyFault("amount", "has more decimals than its currency")]
    except MoneyError:
        return None, [MoneyFault("amount", "does not fit 64 bits of minor units")]
    if "minor" in value and money.minor != minor:
        message = "is contradictory: `amount` and `minor` differ. Send one, or both of one value"
        return None, [MoneyFault("", message)]
    return money, []
