"""Table of functions: name, signatures and implementation of each.

Look-up functions have signatures only: the caller answers them. docs/reference/expressions.md lists all functions with an
example; a test compares the page with this table.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from counterfoil.core.money import Money
from counterfoil.expr import amounts, moments, text
from counterfoil.expr.errors import Fault
from counterfoil.expr.types import Signature, signature
from counterfoil.expr.values import Value, int64, kind, kind_with_article


class Function(msgspec.Struct, frozen=True, eq=False):
    """Function of the language. `costs`: takes the budget first. `lookup`: answered by the caller."""

    name: str
    signatures: tuple[Signature, ...]
    compute: Callable[..., Any]
    costs: bool = False
    lookup: bool = False


def to_int(value: Value) -> int:
    """Convert a whole number, its text, or a timestamp to seconds since 1970. A fraction is rejected, not truncated."""
    match kind(value):
        case "int":
            return int(value)
        case "decimal":
            if abs(value.adjusted()) > 30 or value != value.to_integral_value():
                raise Fault(f"{value} is not a whole number; round it first: int(round(x, 'down'))")
            return int64(int(value))
        case "string":
            digits = value[1:] if value[:1] in ("-", "+") else value
            if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
                raise Fault(f"{value[:60]!r} is not a 64-bit integer")
            return int64(int(value))
        case "timestamp":
            return moments.epoch_seconds(value)
    raise Fault(f"cannot convert {kind_with_article(value)} to int")


def to_bool(value: Value) -> bool:
    """Convert the text true or false (or 1, t, 0, f, as in CEL)."""
    if kind(value) == "bool":
        return bool(value)
    if kind(value) == "string":
        if value in ("true", "True", "TRUE", "t", "T", "1"):
            return True
        if value in ("false", "False", "FALSE", "f", "F", "0"):
            return False
    raise Fault(f"cannot convert {str(value)[:60]!r} to bool")


def to_string(value: Value) -> str:
    """Return the plain text of a value; Money with its decimals and currency, timestamps in UTC."""
    match kind(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "money":
            return f"{value:d}" if not isinstance(value, Money) else str(value)
        case "decimal":
            return format(value, "f") if abs(value.adjusted()) <= 1000 else str(value)
        case "bytes":
            try:
                return str(value, "utf-8")
            except UnicodeDecodeError:
                raise Fault("these bytes are not UTF-8 text") from None
        case "timestamp":
            return moments.show_timestamp(value)
        case "date":
            return str(value.isoformat())
        case "duration":
            return moments.show_duration(value)
    raise Fault(f"cannot convert {kind_with_article(value)} to string")


def to_bytes(value: Value) -> bytes:
    """Return the UTF-8 bytes of a string."""
    match kind(value):
        case "bytes":
            return bytes(value)
        case "string":
            try:
                return str(value).encode()
            except UnicodeEncodeError:
                raise Fault("this text has a lone surrogate and cannot be encoded as UTF-8") from None
    raise Fault(f"cannot convert {kind_with_article(value)} to bytes")


def identity(value: Value) -> Value:
    """Return the value itself, without its static type."""
    return value


FUNCTIONS: dict[str, Function] = {}


def _entry(compute: Callable[..., Any], *signatures: str, costs: bool = False, lookup: bool = False) -> None:
    parsed = [signature(line) for line in signatures]
    name = parsed[0][0]
    FUNCTIONS[name] = Function(name, tuple(s for _, s in parsed), compute, costs, lookup)


# Strings
_entry(text.contains, "string.contains(string) -> bool", costs=True)
_entry(text.starts_with, "string.startsWith(string) -> bool")
_entry(text.ends_with, "string.endsWith(string) -> bool")
_entry(text.matches, "string.matches(string) -> bool", "matches(string, string) -> bool", costs=True)
_entry(
    text.find_all,
    "string.find_all(string) -> list<string>",
    "find_all(string, string) -> list<string>",
    costs=True,
)
_entry(text.upper_ascii, "string.upperAscii() -> string", costs=True)
_entry(text.lower_ascii, "string.lowerAscii() -> string", costs=True)
_entry(text.trim, "string.trim() -> string")
_entry(text.replace, "string.replace(string, string, int?) -> string", costs=True)
_entry(text.split, "string.split(string, int?) -> list<string>", costs=True)
_entry(text.substring, "string.substring(int, int?) -> string")
_entry(text.char_at, "string.charAt(int) -> string")
_entry(text.index_of, "string.indexOf(string, int?) -> int", costs=True)
_entry(text.last_index_of, "string.lastIndexOf(string) -> int", costs=True)
_entry(text.join, "list<string>.join(string?) -> string", costs=True)
_entry(text.size, "size(string|bytes|list|map) -> int", "string|bytes|list|map.size() -> int")

# Conversions
_entry(to_int, "int(int|decimal|string|timestamp) -> int")
_entry(to_string, "string(bool|int|decimal|string|bytes|money|date|timestamp|duration) -> string")
_entry(amounts.decimal_of, "decimal(int|decimal|string) -> decimal")
_entry(to_bool, "bool(bool|string) -> bool")
_entry(to_bytes, "bytes(string|bytes) -> bytes")
_entry(identity, "dyn(dyn) -> dyn")

# Times
_entry(moments.timestamp, "timestamp(string|int|timestamp|date, string?) -> timestamp")
_entry(moments.duration, "duration(string|duration) -> duration")
_entry(moments.day, "date(string|date|timestamp|int, string?) -> date")
_entry(moments.days, "days(int) -> duration")
_entry(moments.days_between, "days_between(date, date) -> int")
_entry(moments.period_of, "period_of(date|timestamp, string?) -> string")
for _name, _read in {
    "getFullYear": lambda d: d.year,
    "getMonth": lambda d: d.month - 1,
    "getDate": lambda d: d.day,
    "getDayOfMonth": lambda d: d.day - 1,
    "getDayOfWeek": lambda d: d.isoweekday() % 7,
    "getDayOfYear": lambda d: d.timetuple().tm_yday - 1,
}.items():
    _entry(moments.part_of_date(_read), f"date|timestamp.{_name}(string?) -> int")
for _name, _part, _unit, _modulus in [
    ("getHours", lambda t: t.hour, timedelta(hours=1), 0),
    ("getMinutes", lambda t: t.minute, timedelta(minutes=1), 0),
    ("getSeconds", lambda t: t.second, timedelta(seconds=1), 0),
    ("getMilliseconds", lambda t: t.microsecond // 1000, timedelta(milliseconds=1), 1000),
]:
    _entry(moments.part_of_time(_part, _unit, _modulus), f"timestamp|duration.{_name}(string?) -> int")

# Money and numbers
_entry(amounts.minor, "minor(int|decimal|string, string) -> money")
_entry(amounts.major, "major(money) -> decimal")
_entry(amounts.price, "price(int|decimal|string, string) -> decimal")
_entry(amounts.money, "money(int|decimal|string, string) -> money")
_ADDITIVE = ("int", "decimal", "money", "duration")
_entry(amounts.total, *(f"sum(list<{of}>) -> {of}" for of in _ADDITIVE), costs=True)
_entry(amounts.allocate, "allocate(money, list<number|money>) -> list<money>", costs=True)
_entry(
    identity,  # generated code calls values.round_factors with the separate factors under round()
    "round(money, string) -> money",
    "round(number, string, string) -> money",
    "round(number, string, int?) -> decimal",
)
_entry(amounts.absolute, *(f"abs({of}) -> {of}" for of in _ADDITIVE))
_ORDERED = ("int", "decimal", "money", "date", "timestamp", "duration", "string")
for _name, _pick in (("min", amounts.smallest), ("max", amounts.largest)):
    _entry(
        _pick,
        *(f"{_name}({of}, {of}*) -> {of}" for of in _ORDERED),
        *(f"{_name}(list<{of}>) -> {of}" for of in _ORDERED),
        costs=True,
    )
_entry(identity, "first(dyn, dyn*) -> dyn")  # generated code evaluates the choices lazily
_entry(amounts.coterm, "coterm(list<map>, date, string) -> list<map>", costs=True)
_entry(amounts.split_by_period, "split_by_period(money, map, string?) -> list<map>", costs=True)

# Look-ups, answered by the caller
_LOOKUPS = (
    "xref(string, dyn, string?) -> dyn",
    "canon(string, dyn, string?) -> dyn",
    "link(string, dyn, string?) -> dyn",
    "table(string, dyn, dyn*) -> dyn",
    "head(string, dyn?) -> dyn",
    "fx(money, string, date?) -> money",
    "cutoff(dyn) -> dyn",
    "period(dyn, date) -> dyn",
)
for _line in _LOOKUPS:
    _entry(identity, _line, lookup=True)

UNSUPPORTED = {
    "double": "the language has no floating-point numbers; use decimal()",
    "uint": "the language has no unsigned integers; use int()",
    "type": "types cannot be compared; use has() or a schema",
    "eval": "expressions cannot evaluate other expressions",
}
