"""Functions over money and numbers: vendors' minor units, sums, allocation, proration, periods.

Each is pure and exact; what must be rounded is rounded once, and parts sum to their whole.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from counterfoil.core import money as core
from counterfoil.core.money import Money
from counterfoil.expr import moments
from counterfoil.expr.errors import Fault
from counterfoil.expr.values import (
    EXACT,
    Budget,
    Value,
    add,
    charge,
    kind_with_article,
    int64,
    greater,
    kind,
    less,
)

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?")


def decimal_of(value: Value) -> Decimal:
    """An exact Decimal of a number or of its plain text."""
    match kind(value):
        case "decimal":
            same: Decimal = value
            return same
        case "int":
            return Decimal(value)
        case "string":
            if _NUMBER.fullmatch(value):
                return Decimal(value)
            raise Fault(f"{value[:60]!r} is no number")
    raise Fault(f"cannot make a decimal of {kind_with_article(value)}")


def _currency(value: Value) -> str:
    if kind(value) != "string":
        raise Fault(f"a currency is a string such as 'EUR', not {kind_with_article(value)}")
    return str(value)


def minor(value: Value, currency: Value) -> Money:
    """Money of a vendor's whole minor units; a fraction of a cent is refused."""
    number = decimal_of(value)
    if not number.is_finite() or abs(number.adjusted()) > 30 or number != number.to_integral_value():
        raise Fault(f"{value} is not a whole number of minor units; use price() for unit prices")
    return Money(int(number), _currency(currency))


def major(amount: Value) -> Decimal:
    """The Decimal of major units."""
    if kind(amount) != "money":
        raise Fault(f"major() takes money, not {kind_with_article(amount)}")
    decimal: Decimal = amount.major()
    return decimal


def price(value: Value, currency: Value) -> Decimal:
    """Decimal of major units from a vendor's decimal number of minor units: '0.4' US cents are 0.004."""
    number = decimal_of(value)
    return number.scaleb(-core.exponent(_currency(currency)), EXACT)


def money(value: Value, currency: Value) -> Money:
    """Money of major units; more decimals than the currency has are refused."""
    return Money.from_major(decimal_of(value), _currency(currency))


def _items(budget: Budget, name: str, values: Value) -> list[Any]:
    if kind(values) != "list":
        raise Fault(f"{name}() takes a list, not {kind_with_article(values)}")
    charge(budget, 1 + len(values))
    return list(values)


def total(budget: Budget, values: Value) -> Value:
    """The sum of ints, Decimals, durations or Money of one currency; of an empty list the int 0.

    Beside Money the int 0 is neutral, so that `sum([]) + amount` and `sum([]) == amount` have a meaning.
    """
    result: Value = 0
    for position, value in enumerate(_items(budget, "sum", values)):
        if kind(value) not in ("int", "decimal", "money", "duration"):
            raise Fault(f"sum() takes numbers or money; element {position} is {kind_with_article(value)}")
        result = value if position == 0 else add(result, value, budget)
    return result


def allocate(budget: Budget, amount: Value, weights: Value) -> list[Money]:
    """Money over weights (numbers, or Money of one currency) by largest remainder; the parts sum to the amount."""
    shares = _items(budget, "allocate", weights)
    if kind(amount) != "money":
        raise Fault(f"allocate() takes money, not {kind_with_article(amount)}")
    if shares and kind(shares[0]) == "money":
        if any(kind(w) != "money" or w.currency != shares[0].currency for w in shares):
            raise Fault("the weights of allocate() are all numbers, or all money of one currency")
        shares = [w.minor for w in shares]
    return core.allocate(amount, shares)


def absolute(value: Value) -> Value:
    """The amount without its sign."""
    match kind(value):
        case "int":
            return int64(abs(value))
        case "decimal" | "money" | "duration":
            return abs(value) if kind(value) != "decimal" else value.copy_abs()
    raise Fault(f"abs() takes a number, money or a duration, not {kind_with_article(value)}")


def _extreme(name: str, better: Any) -> Any:
    def pick(budget: Budget, *values: Value) -> Value:
        given = values
        if len(values) == 1 and kind(values[0]) == "list":
            given = tuple(_items(budget, name, values[0]))
        if not given:
            raise Fault(f"{name}() of an empty list has no value")
        best = given[0]
        for value in given[1:]:
            best = value if better(value, best) else best
        if len(given) == 1:
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
    """Lines brought to one common end, their amounts prorated by days.

    A line is a map with `amount` (Money for its whole term), `start` and `end` (dates, the end not included), and
    anything else. It comes back with `end` = `term_end`, the prorated `amount`, `days` charged and `term_days`. The
    total of the exact shares is rounded once (half to even) and handed to the lines by largest remainder, ties to
    the earlier line. The only basis is 'daily': actual days over actual days.
    """
    if basis != "daily":
        raise Fault(f"{basis!r} is no basis of coterm(); use 'daily'")
    if kind(term_end) != "date":
        raise Fault(f"the end of coterm() is a date, not {kind_with_article(term_end)}")
    shares: list[Fraction] = []
    made: list[dict[str, Any]] = []
    for line in _items(budget, "coterm", lines):
        amount, start, end = _field(line, "amount"), _field(line, "start"), _field(line, "end")
        if kind(amount) != "money" or kind(start) != "date" or kind(end) != "date":
            raise Fault("a line of coterm() has amount (money), start and end (dates)")
        charged, whole = (term_end - start).days, (end - start).days
        if whole <= 0 or charged < 0:
            raise Fault(f"a line of coterm() runs from {start} to {end}, which {term_end} cannot end")
        if made and amount.currency != made[0]["amount"].currency:
            raise core.CurrencyMismatch(f"the lines mix {made[0]['amount'].currency} and {amount.currency}")
        shares.append(Fraction(amount.minor * charged, whole))
        made.append({**line, "end": term_end, "amount": amount, "days": charged, "term_days": whole})
    units = [share.numerator // share.denominator for share in shares]
    missing = round(sum(shares, Fraction(0))) - sum(units)
    for position in sorted(range(len(shares)), key=lambda i: units[i] - shares[i])[:missing]:
        units[position] += 1
    for line, unit in zip(made, units, strict=True):
        line["amount"] = Money(unit, line["amount"].currency)
    return made


def split_by_period(
    budget: Budget, amount: Value, window: Value, where: Value = None
) -> list[dict[str, Any]]:
    """Money of a window over the calendar months that it touches, by time; the parts sum to the amount.

    The window is a map with `starts_at` and `ends_at` (timestamps) or `start` and `end` (dates), half-open. Months
    are those of `where`, else of the window's `ledger_zone`, else UTC. A part has `period` 'YYYY-MM', `amount`,
    `start` and `end` (first and last day that it covers) and `next_start` (first day of the next month).
    """
    if kind(amount) != "money":
        raise Fault(f"split_by_period() takes money, not {kind_with_article(amount)}")
    begin, stop = _field(window, "starts_at", "start"), _field(window, "ends_at", "end")
    if where is None:
        where = window.get("ledger_zone") or "UTC"
    if kind(begin) != kind(stop) or kind(begin) not in ("date", "timestamp"):
        raise Fault("a window has starts_at and ends_at (timestamps), or start and end (dates)")
    place = moments.zone(where) if kind(begin) == "timestamp" else UTC
    first, last = (_instant(edge, place) for edge in (begin, stop))
    if first >= last:
        raise Fault("the window is empty: it ends before it starts")
    parts: list[dict[str, Any]] = []
    weights: list[int] = []
    while first < last:
        charge(budget, 10)
        local = first.astimezone(place)
        following = date(local.year + local.month // 12, local.month % 12 + 1, 1)
        until = min(last, _instant(following, place))
        weights.append((until - first) // timedelta(microseconds=1))
        end = (until.astimezone(place) - timedelta(microseconds=1)).date()
        parts.append(
            {
                "period": f"{local.year:04d}-{local.month:02d}",
                "start": local.date(),
                "end": end,
                "next_start": following,
            }
        )
        first = until
    for part, share in zip(parts, core.allocate(amount, weights), strict=True):
        part["amount"] = share
    return parts


def _instant(edge: Any, place: Any) -> datetime:
    """A timestamp, or the start of a day in a zone, as an instant in UTC.

    Where clocks change at midnight, the day starts after the gap, or at the later of two midnights.
    """
    if isinstance(edge, datetime):
        if edge.tzinfo is None:
            raise Fault("a timestamp without a zone is not a value of the language")
        return edge.astimezone(UTC)
    midnight = datetime(edge.year, edge.month, edge.day, tzinfo=place)
    return max(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
