"""Values of the language and its operators: exact, strictly typed, bounded.

Operators take values as they are bound, without wrapping, and raise Fault if there is no result. Operators that can build
large values take a budget, a one-element list of remaining steps.
"""

from __future__ import annotations

import decimal
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from counterfoil.core.money import INT64_MAX, INT64_MIN, Money, Rounding, round_decimal
from counterfoil.expr.errors import BudgetExceeded, Fault, with_article

Budget = list[int]
Value = Any  # a value of the language: checked by kind() where it matters
T = TypeVar("T")

_STRICT = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Inexact]
EXACT = decimal.Context(prec=80, Emax=999, Emin=-999, traps=_STRICT)
_DIVISION = decimal.Context(prec=28, Emax=999, Emin=-999, traps=_STRICT)

MONEY_TIMES_DECIMAL = (
    "money times a decimal must be rounded by a named rule: round(amount * factor, 'half_even')"
)
MONEY_DIVIDED = "money divided must be rounded: round(amount / n, 'half_even'), or allocate(amount, weights)"


class _Kinds(dict[type, str]):
    """Python type -> name of the type in the language; subclasses (enums) count as their base."""

    def __missing__(self, cls: type) -> str:
        for base, name in _BASES:
            if issubclass(cls, base):
                return name
        return ""


_BASES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (Decimal, "decimal"),
    (str, "string"),
    (bytes, "bytes"),
    (Money, "money"),
    (datetime, "timestamp"),
    (date, "date"),
    (timedelta, "duration"),
    (Mapping, "map"),
    (list, "list"),
    (tuple, "list"),
    (type(None), "null"),
)
_KINDS = _Kinds([*_BASES, (dict, "map")])
SCALARS = frozenset({bool, int, Decimal, str, bytes, Money, datetime, date, timedelta, type(None)})
_ORDERED = frozenset({"bool", "int", "decimal", "string", "bytes", "money", "timestamp", "date", "duration"})


def kind(value: Value) -> str:
    """Return the type of a value in the language. Raises Fault for other Python values, such as floats."""
    name = _KINDS[type(value)]
    if not name:
        if isinstance(value, float):
            raise Fault("a float is not a value of the language; read numbers as int or Decimal")
        raise Fault(f"{with_article(type(value).__name__)} is not a value of the language")
    return name


def kind_with_article(value: Value) -> str:
    """Return the type of a value with its article: an int, a map."""
    return with_article(kind(value))


def charge(budget: Budget, steps: int) -> None:
    """Take steps from the budget. Raises BudgetExceeded if too few are left."""
    budget[0] -= steps
    if budget[0] < 0:
        raise BudgetExceeded(
            "the expression exceeds its limit of steps; reduce the lists that it iterates over"
        )


def int64(number: int) -> int:
    """Return the number if it fits 64 bits; otherwise raise Fault."""
    if INT64_MIN <= number <= INT64_MAX:
        return number
    raise Fault("integer overflow: the result does not fit 64 bits")


def exact_operation(act: Callable[[Decimal, Decimal], Decimal], a: Value, b: Value, verb: str) -> Decimal:
    """Return the result of a Decimal operation. Raises Fault if it is not exact in its context."""
    try:
        result = act(Decimal(a), Decimal(b))
        return result or result.copy_abs()  # no negative zero
    except decimal.Inexact:
        hint = "; write round(a / b, 'half_even', 2)" if verb == "/" else ""
        raise Fault(f"the result of {verb} is not exact in its digits{hint}") from None
    except decimal.DecimalException:
        raise Fault(f"{verb} has no result for {a} and {b}") from None


def no_operator(op: str, a: Value, b: Value) -> Fault:
    """Return the fault for an operator that does not accept these types."""
    return Fault(f"the operator {op} does not apply to {kind(a)} and {kind(b)}")


def add(a: Value, b: Value, budget: Budget) -> Value:
    """Add numbers, Money, texts, lists, or times and durations; int 0 is neutral with Money."""
    match kind(a), kind(b):
        case "int", "int":
            return int64(a + b)
        case (("int" | "decimal"), ("int" | "decimal")):
            return exact_operation(EXACT.add, a, b, "+")
        case "money", "money":
            return a + b
        case "money", "int" if b == 0:
            return a
        case "int", "money" if a == 0:
            return b
        case ("string", "string") | ("bytes", "bytes"):
            charge(budget, (len(a) + len(b)) // 16)
            return a + b
        case "list", "list":
            charge(budget, len(a) + len(b))
            return [*a, *b]
        case ("timestamp", "duration") | ("duration", "timestamp") | ("duration", "duration"):
            return _within_time(operator.add, a, b)
        case "date", "duration":
            return _shift(a, b, operator.add)
        case "duration", "date":
            return _shift(b, a, operator.add)
    raise no_operator("+", a, b)


def subtract(a: Value, b: Value) -> Value:
    """Subtract numbers, Money or times; date - date and timestamp - timestamp are durations."""
    match kind(a), kind(b):
        case "int", "int":
            return int64(a - b)
        case (("int" | "decimal"), ("int" | "decimal")):
            return exact_operation(EXACT.subtract, a, b, "-")
        case "money", "money":
            return a - b
        case "money", "int" if b == 0:
            return a
        case "int", "money" if a == 0:
            return -b
        case ("timestamp" | "duration", "duration") | ("timestamp", "timestamp") | ("date", "date"):
            return _within_time(operator.sub, a, b)
        case "date", "duration":
            return _shift(a, b, operator.sub)
    raise no_operator("-", a, b)


def _within_time(act: Callable[[Any, Any], Value], a: Value, b: Value) -> Value:
    try:
        return act(a, b)
    except OverflowError:
        raise Fault("the result is outside the years 1 to 9999") from None
    except TypeError:
        raise Fault("a timestamp without a zone is not a value of the language") from None


def _shift(day: date, by: timedelta, act: Callable[[date, timedelta], date]) -> date:
    if by.seconds or by.microseconds:
        raise Fault("only whole days can be added to a date; use days(n)")
    moved: date = _within_time(act, day, by)
    return moved


def multiply(a: Value, b: Value) -> Value:
    """Multiply numbers; Money and durations take an int only, so that nothing is rounded implicitly."""
    match kind(a), kind(b):
        case "int", "int":
            return int64(a * b)
        case (("int" | "decimal"), ("int" | "decimal")):
            return exact_operation(EXACT.multiply, a, b, "*")
        case ("money", "int") | ("int", "money"):
            return a * b
        case ("money", "decimal") | ("decimal", "money"):
            raise Fault(MONEY_TIMES_DECIMAL)
        case ("duration", "int") | ("int", "duration"):
            return _within_time(operator.mul, a, b)
    raise no_operator("*", a, b)


def divide(a: Value, b: Value) -> Value:
    """Divide: ints truncate towards zero as in CEL, Decimals must be exact to 28 digits."""
    match kind(a), kind(b):
        case "int", "int":
            if b == 0:
                raise Fault("division by zero")
            quotient = abs(a) // abs(b)
            return int64(quotient if (a < 0) == (b < 0) else -quotient)
        case (("int" | "decimal"), ("int" | "decimal")):
            if b == 0:
                raise Fault("division by zero")
            return exact_operation(_DIVISION.divide, a, b, "/")
        case "money", ("int" | "decimal"):
            raise Fault(MONEY_DIVIDED)
    raise no_operator("/", a, b)


def remainder(a: Value, b: Value) -> Value:
    """Return the remainder with the sign of the left side, as in CEL."""
    match kind(a), kind(b):
        case "int", "int":
            if b == 0:
                raise Fault("division by zero")
            return abs(a) % abs(b) * (-1 if a < 0 else 1)
        case (("int" | "decimal"), ("int" | "decimal")):
            if b == 0:
                raise Fault("division by zero")
            return exact_operation(EXACT.remainder, a, b, "%")
    raise no_operator("%", a, b)


def negate(a: Value) -> Value:
    """Negate a number, Money or duration."""
    match kind(a):
        case "int":
            return int64(-a)
        case "decimal":
            return a.copy_negate() if a else a
        case "money" | "duration":
            return -a
    raise Fault(f"minus does not apply to {kind_with_article(a)}")


def truth(a: Value) -> bool:
    """Return the value if it is a bool; no other value counts as true or false."""
    if a is True or a is False:
        return a
    raise Fault(f"expected true or false, found {kind_with_article(a)}")


def _comparison(op: str, act: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def compare(a: Value, b: Value) -> bool:
        left, right = kind(a), kind(b)
        if left == right:
            if left in _ORDERED:
                return act(a, b)
        elif {left, right} == {"int", "decimal"}:
            return act(a, b)
        elif left == "money" and right == "int" and b == 0:
            return act(a.minor, 0)
        elif right == "money" and left == "int" and a == 0:
            return act(0, b.minor)
        raise no_operator(op, a, b)

    return compare


less = _comparison("<", operator.lt)
less_or_equal = _comparison("<=", operator.le)
greater = _comparison(">", operator.gt)
greater_or_equal = _comparison(">=", operator.ge)


def equal(a: Value, b: Value, budget: Budget) -> bool:
    """Compare as CEL does: different types are unequal, int and decimal compare as numbers, containers by content.

    int 0 equals Money of 0, because it is the sum of no Money.
    """
    left, right = kind(a), kind(b)
    if left == right:
        if left == "list":
            charge(budget, 1 + len(a))
            return len(a) == len(b) and all(equal(x, y, budget) for x, y in zip(a, b, strict=True))
        if left == "map":
            charge(budget, 1 + len(a))
            return len(a) == len(b) and all(key in b and equal(a[key], b[key], budget) for key in a)
        return bool(a == b)
    if {left, right} == {"int", "decimal"}:
        return bool(a == b)
    if left == "money" and right == "int":
        return bool(a.minor == 0 and b == 0)
    if left == "int" and right == "money":
        return bool(a == 0 and b.minor == 0)
    return False


def contains(needle: Value, container: Value, budget: Budget) -> bool:
    """Return true for an element of a list or a key of a map (`in`)."""
    match kind(container):
        case "map":
            return kind(needle) == "string" and needle in container
        case "list":
            charge(budget, len(container))
            if type(needle) is str:  # text equals only text, so Python's search gives the same result
                return needle in container
            return any(equal(needle, item, budget) for item in container)
    raise Fault(f"the right side of in must be a list or a map, not {kind_with_article(container)}")


def select(operand: Value, field: str) -> Value:
    """Return `operand.field` of a map or of Money (`minor`, `currency`)."""
    match kind(operand):
        case "map":
            if field in operand:
                return operand[field]
            raise Fault(f"no such key: {field!r}", absent=True)
        case "money" if field in ("minor", "currency"):
            return operand.minor if field == "minor" else operand.currency
        case "null":
            raise Fault(f"null has no field {field!r}", absent=True)
    raise Fault(f"{kind_with_article(operand)} has no field {field!r}")


def has(operand: Value, field: str) -> bool:
    """Return true if the key of `has(operand.field)` exists, even with null."""
    match kind(operand):
        case "map":
            return field in operand
        case "money":
            return field in ("minor", "currency")
        case "null":
            raise Fault(f"null has no field {field!r}", absent=True)
    raise Fault(f"{kind_with_article(operand)} has no field {field!r}")


def index(operand: Value, key: Value) -> Value:
    """Return `operand[key]` of a list (from 0, never negative) or a map."""
    match kind(operand), kind(key):
        case "list", "int":
            if 0 <= key < len(operand):
                return operand[key]
            raise Fault(f"the list has {len(operand)} elements; element {key} does not exist", absent=True)
        case "map", "string":
            return select(operand, key)
        case "null", _:
            raise Fault("cannot index null", absent=True)
    raise Fault(f"cannot index {kind_with_article(operand)} with {kind_with_article(key)}")


def map_of(pairs: Iterable[tuple[Value, Value]]) -> dict[str, Value]:
    """Return a map literal; keys are unique strings."""
    entries: dict[str, Value] = {}
    for key, value in pairs:
        if kind(key) != "string":
            raise Fault(f"the keys of a map must be strings, not {kind(key)}")
        if key in entries:
            raise Fault(f"duplicate key {key!r}")
        entries[key] = value
    return entries


def rounding(rule: Value) -> Rounding:
    """Return the rounding rule of that name."""
    try:
        return Rounding(rule)
    except ValueError:
        raise Fault(f"{rule!r} is not a rounding rule; use one of {', '.join(Rounding)}") from None


def round_factors(first: Value, steps: Sequence[tuple[str, Value]], rule: Value, unit: Value = None) -> Value:
    """Return `round(first * x / y ..., rule[, unit])`: exact products and quotients, rounded once at the end.

    With Money among the factors the result is Money, rounded to its minor units. With a currency as `unit` it is Money of major
    units; otherwise a Decimal with `unit` decimals (0 by default).
    """
    rounding_rule = rounding(rule)
    factors = [("*", first), *steps]
    moneys = [value for _, value in factors if kind(value) == "money"]
    if len(moneys) > 1 or any(op == "/" and kind(value) == "money" for op, value in factors):
        raise Fault("round() takes one amount of money, multiplied or divided by plain numbers")
    top, bottom = 1, 1
    for op, value in factors:
        if kind(value) not in ("int", "decimal", "money"):
            raise Fault(f"round() takes numbers and money, not {kind(value)}")
        up, down = _ratio(value.minor if kind(value) == "money" else value)
        if op == "/":
            if not up:
                raise Fault("division by zero")
            up, down = (down, up) if up > 0 else (-down, -up)
        top, bottom = top * up, bottom * down
        if top.bit_length() > 8192 or bottom.bit_length() > 8192:
            raise Fault("the factors under round() have too many digits")
    if moneys:
        if unit is not None:
            raise Fault("money rounds to its own minor units; omit the third argument")
        return Money(_round_ratio(top, bottom, rounding_rule), moneys[0].currency)
    if kind(unit) == "string":
        numerator, denominator = _ratio(Money(1, unit).major())
        return Money(_round_ratio(top * denominator, bottom * numerator, rounding_rule), unit)
    digits = 0 if unit is None else unit
    if kind(digits) != "int" or not -30 <= digits <= 30:
        raise Fault("the third argument of round() must be a number of digits, -30 to 30, or a currency")
    scaled = _round_ratio(top * 10 ** max(digits, 0), bottom * 10 ** max(-digits, 0), rounding_rule)
    if scaled.bit_length() > 250:
        raise Fault("the rounded number has too many digits")
    return Decimal(scaled).scaleb(-digits, EXACT)


def _ratio(number: Value) -> tuple[int, int]:
    if isinstance(number, Decimal):
        if not number.is_finite() or abs(number.adjusted()) > 999 or len(number.as_tuple().digits) > 999:
            raise Fault("the number has too many digits")
        return number.as_integer_ratio()
    return number, 1


def _round_ratio(top: int, bottom: int, rule: Rounding) -> int:
    """Return top / bottom (bottom > 0) as a whole number, rounded exactly by `rule`."""
    whole, rest = divmod(abs(top), bottom)
    # The remainder is only compared with zero and one half, so one digit can represent it.
    tail = 0 if rest == 0 else 1 if 2 * rest < bottom else 5 if 2 * rest == bottom else 9
    representative = Decimal((1 if top < 0 else 0, (*map(int, str(whole)), tail), -1))
    return int(round_decimal(representative, 0, rule))
