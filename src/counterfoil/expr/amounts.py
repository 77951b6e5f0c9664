"""Functions over money and numbers: minor units of vendors, sums, allocation, proration, periods.

Each is pure and exact. Rounding happens once, and parts sum to their whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from counterfoil.core import money as core
from counterfoil.core.minor_units import MinorUnit, MinorUnits
from counterfoil.core.money import Money
from counterfoil.expr import moments
from counterfoil.expr.errors import Fault
from counterfoil.expr.values import (
    EXACT,
    Budget,
    Value,
    add,
    charge,
    greater,
    int64,
    kind,
    kind_with_article,
    less,
    select,
)

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?")


def decimal_of(value: Value) -> Decimal:
    """Return the exact Decimal of a number or of its plain text."""
    match kind(value):
        case "decimal":
            same: Decimal = value
            return same
        case "int":
            return Decimal(value)
        case "string":
            if _NUMBER.fullmatch(value):
                return Decimal(value)
            raise Fault(f"{value[:60]!r} is not a number")
    raise Fault(f"cannot convert {kind_with_article(value)} to decimal")


def _currency(value: Value) -> str:
    if kind(value) != "string":
        raise Fault(f"a currency must be a string such as 'EUR', not {kind_with_article(value)}")
    return str(value)


def minor(value: Value, currency: Value) -> Money:
    """Return Money from whole minor units of ISO 4217; a fraction of a minor unit is rejected."""
    return Money(int(_whole_units(value)), _currency(currency))


def _whole_units(value: Value) -> Decimal:
    number = decimal_of(value)
    if not number.is_finite() or abs(number.adjusted()) > 30 or number != number.to_integral_value():
        raise Fault(f"{value} is not a whole number of minor units; use price() for unit prices")
    return number


def major(amount: Value) -> Decimal:
    """Return the Decimal of major units."""
    return _amount(amount).major()


def _amount(value: Value) -> Money:
    if kind(value) != "money":
        raise Fault(f"major() takes money, not {kind_with_article(value)}")
    amount: Money = value
    return amount


def price(value: Value, currency: Value) -> Decimal:
    """Convert a decimal number of minor units to major units: '0.4' US cents are 0.004."""
    number = decimal_of(value)
    return number.scaleb(-core.exponent(_currency(currency)), EXACT)


def in_units_of(units: MinorUnits) -> dict[str, Callable[..., Value]]:
    """Return `minor`, `major`, `price` and the operator `select` for amounts as one system counts them.

    In a mapping, minor units are those of its system: of `minor()` and `price()`, and of `amount.minor` too.
    """

    as_iso: dict[str, bool] = {}

    def is_iso(currency: str) -> bool:
        """Return True if the system counts this currency as ISO 4217 does, which most deliveries need only."""
        if currency not in as_iso:
            as_iso[currency] = units.of(currency) == MinorUnit(core.exponent(currency))
        return as_iso[currency]

    def minor_of_system(value: Value, currency: Value) -> Money:
        number, code = _whole_units(value), _currency(currency)
        return Money(int(number), code) if is_iso(code) else units.read(number, code)

    def major_of_system(amount: Value) -> Decimal:
        checked = _amount(amount)
        return checked.major() if is_iso(checked.currency) else units.major(checked)

    def price_of_system(value: Value, currency: Value) -> Decimal:
        return decimal_of(value).scaleb(-units.of(_currency(currency)).decimals, EXACT)

    def select_of_system(operand: Value, field: str) -> Value:
        if field == "minor" and kind(operand) == "money" and not is_iso(operand.currency):
            return int64(units.write(operand))
        return select(operand, field)

    return {
        "f_minor": minor_of_system,
        "f_major": major_of_system,
        "f_price": price_of_system,
        "select": select_of_system,
    }


def money(value: Value, currency: Value) -> Money:
    """Return Money from major units; more decimals than the currency has are rejected."""
    return Money.from_major(decimal_of(value), _currency(currency))


def _items(budget: Budget, name: str, values: Value) -> list[Any]:
    if kind(values) != "list":
        raise Fault(f"{name}() takes a list, not {kind_with_article(values)}")
    charge(budget, 1 + len(values))
    return list(values)


def total(budget: Budget, values: Value) -> Value:
    """Return the sum of ints, Decimals, durations or Money of one currency; int 0 for an empty list.

    With Money the int 0 is neutral, so that `sum([]) + amount` and `sum([]) == amount` are defined.
    """
    result: Value = 0
    for position, value in enumerate(_items(budget, "sum", values)):
        if kind(value) not in ("int", "decimal", "money", "duration"):
            raise Fault(f"sum() takes numbers or money; element {position} is {kind_with_article(value)}")
        result = value if position == 0 else add(result, value, budget)
    return result


def allocate(budget: Budget, amount: Value, weights: Value) -> list[Money]:
    """Allocate Money over weights (numbers, or Money of one currency) by largest remainder; parts sum to the amount."""
    shares = _items(budget, "allocate", weights)
    if kind(amount) != "money":
        raise Fault(f"allocate() takes money, not {kind_with_article(amount)}")
    if shares and kind(shares[0]) == "money":
        if any(kind(w) != "money" or w.currency != shares[0].currency for w in shares):
            raise Fault("the weights of allocate() must all be numbers, or all money of one currency")
        shares = [w.minor for w in shares]
    return core.allocate(amount, shares)


def absolute(value: Value) -> Value:
    """Return the amount without its sign."""
    match kind(value):
        case "int":
            return int64(abs(value))
        case "decimal" | "money" | "duration":
            return abs(value) if kind(value) != "decimal" else value.copy_abs()
    raise Fault(f"abs() takes a number, money or a duration, not {kind_with_article(value)}")


def _extreme(name: str, better: Any) -> Any:
    def pick(budget: Budget, *values: Value) -> Value:
        candidates = values
        if len(values) == 1 and kind(values[0]) == "list":
            candidates = tuple(_items(budget, name, values[0]))
        if not candidates:
            raise Fault(f"{name}() of an empty list has no value")
        best = candidates[0]
        for value in candidates[1:]:
            best = value if better(value, best) else best
        if len(candidates) == 1:
            better(best, best)
        return best

    return pick


smallest = _extreme("min", less)
largest = _extreme("max", greater)


def _field(item: Value, *names: str) -> Value:
    if kind(item) != "map":
        raise Fault(f"expected a map with {names[0]!r}, found {kind_with_article(item)}")
    for name in names:
        if name in item:
            return item[name]
    raise Fault(f"no such key: {names[0]!r}", absent=True)


def coterm(budget: Budget, lines: Value, term_end: Value, basis: Value) -> list[dict[str, Any]]:
    """Return lines with one common end, their amounts prorated by days.

    A line is a map with `amount` (Money for its whole term), `start` and `end` (dates, the end not included), and any other
    keys. The result has `end` = `term_end`, the prorated `amount`, the charged `days` and `term_days`. The total of the exact
    shares is rounded once (half to even) and allocated to the lines by largest remainder, ties to the earlier line. The only
    basis is 'daily': actual days over actual days.
    """
    if basis != "daily":
        raise Fault(f"coterm() does not support the basis {basis!r}; use 'daily'")
    if kind(term_end) != "date":
        raise Fault(f"the end of coterm() must be a date, not {kind_with_article(term_end)}")
    shares: list[Fraction] = []
    prorated: list[dict[str, Any]] = []
    for line in _items(budget, "coterm", lines):
        amount, start, end = _field(line, "amount"), _field(line, "start"), _field(line, "end")
        if kind(amount) != "money" or kind(start) != "date" or kind(end) != "date":
            raise Fault("a line of coterm() needs amount (money), start and end (dates)")
        charged, whole = (term_end - start).days, (end - start).days
        if whole <= 0 or charged < 0:
            raise Fault(f"a line of coterm() runs from {start} to {end} and cannot end on {term_end}")
        if prorated and amount.currency != prorated[0]["amount"].currency:
            first = prorated[0]["amount"]
            raise core.CurrencyMismatch(f"the lines mix {first.currency} and {amount.currency}")
        shares.append(Fraction(amount.minor * charged, whole))
        prorated.append({**line, "end": term_end, "amount": amount, "days": charged, "term_days": whole})
    units = [share.numerator // share.denominator for share in shares]
    missing = round(sum(shares, Fraction(0))) - sum(units)
    for position in sorted(range(len(shares)), key=lambda i: units[i] - shares[i])[:missing]:
        units[position] += 1
    for line, unit in zip(prorated, units, strict=True):
        line["amount"] = Money(unit, line["amount"].currency)
    return prorated


def split_by_period(
    budget: Budget, amount: Value, window: Value, where: Value = None
) -> list[dict[str, Any]]:
    """Split Money of a window over its calendar months, by time; the parts sum to the amount.

    The window is a map with `starts_at` and `ends_at` (timestamps) or `start` and `end` (dates), half-open. Months are those of
    the zone `where`, else of the window's `ledger_zone`, else UTC. A part has `period` 'YYYY-MM', `amount`, `start` and `end`
    (first and last covered day) and `next_start` (first day of the next month).
    """
    if kind(amount) != "money":
        raise Fault(f"split_by_period() takes money, not {kind_with_article(amount)}")
    begin, stop = _field(window, "starts_at", "start"), _field(window, "ends_at", "end")
    if where is None:
        where = window.get("ledger_zone") or "UTC"
    if kind(begin) != kind(stop) or kind(begin) not in ("date", "timestamp"):
        raise Fault("a window needs starts_at and ends_at (timestamps), or start and end (dates)")
    place = moments.zone(where) if kind(begin) == "timestamp" else UTC
    first, last = (_instant(edge, place) for edge in (begin, stop))
    if first >= last:
        raise Fault("the window is empty: its end is not after its start")
    parts: list[dict[str, Any]] = []
    weights: list[int] = []
    while first < last:
        charge(budget, 10)
        local = first.astimezone(place)
        following = date(local.year + local.month // 12, local.month % 12 + 1, 1)
        until = min(last, _instant(following, place))
        weights.append((until - first) // timedelta(microseconds=1))
        end = (until.astimezone(place) - timedelta(microseconds=1)).date()
        period = f"{local.year:04d}-{local.month:02d}"
        parts.append({"period": period, "start": local.date(), "end": end, "next_start": following})
        first = until
    for part, share in zip(parts, core.allocate(amount, weights), strict=True):
        part["amount"] = share
    return parts


def _instant(edge: Any, place: Any) -> datetime:
    """Return a timestamp, or the start of a day in a zone, as an instant in UTC.

    If clocks change at midnight, the day starts after the gap, or at the later of two midnights.
    """
    if isinstance(edge, datetime):
        if edge.tzinfo is None:
            raise Fault("a timestamp without a zone is not a value of the language")
        return edge.astimezone(UTC)
    midnight = datetime(edge.year, edge.month, edge.day, tzinfo=place)
    return max(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
