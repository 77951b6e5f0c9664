"""Meaning of expressions: exact numbers, strict types, CEL's absorption of errors, bounded work."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money import INT64_MAX, INT64_MIN, CurrencyMismatch, Money
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded, compile
from counterfoil.expr.generate import Generator
from counterfoil.expr.parse import parse


def run(text, **bindings):
    return compile(text)(bindings)


def fails(text, match, **bindings):
    with pytest.raises(EvaluationError, match=match) as error:
        run(text, **bindings)
    return error.value


USD, EUR = Money(100, "USD"), Money(100, "EUR")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 + 0.2 == 0.3", True),
        ("1 == 1.0", True),
        ("1 == '1'", False),
        ("1 != '1'", True),
        ("true == 1", False),
        ("[true] == [1]", False),
        ("[1, 2.0] == [1.0, 2]", True),
        ("{'a': 1} == {'a': 1.0}", True),
        ("{'a': 1} == {'b': 1}", False),
        ("null == false", False),
        ("null == null", True),
        ("'a' < 'b'", True),
        ("'Z' < 'a'", True),
        ("b'a' < b'b'", True),
        ("false < true", True),
        ("1 < 1.5", True),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 % -2", 1),
        ("-7 % 2", -1),
        ("7.5 % 2", Decimal("1.5")),
        ("1.0 / 8", Decimal("0.125")),
        ("3 * 1.1", Decimal("3.3")),
        ("1 in [1.0]", True),
        ("true in [1]", False),
        ("'a' in {'a': null}", True),
        ("1 in {'1': 1}", False),
        ("[1] + [2]", [1, 2]),
        ("b'a' + b'b'", b"ab"),
        ("has({'a': null}.a)", True),
        ("has({}.a)", False),
        ("[1, 2, 3].all(x, x > 0)", True),
        ("[].all(x, x)", True),
        ("[].exists(x, x)", False),
        ("[1, 2, 3].exists_one(x, x > 2)", True),
        ("[1, 2, 3].exists_one(x, x > 1)", False),
        ("[1, 2, 3].map(x, x > 1, x * x)", [4, 9]),
        ("{'a': 1, 'b': 2}.filter(k, k != 'a')", ["b"]),
        ("[[1, 2], [3]].map(x, x.map(y, y + x[0]))", [[2, 3], [6]]),
        ("[1].map(x, [2].map(x, x))", [[2]]),
        ("[1, 2].map(x, x)[1]", 2),
        ("first(null, {}.a, 3)", 3),
        ("first(null, {'a': null}.a.b)", None),
        ("sum([]) + sum([])", 0),
        ("min([3, 1.5, 2])", Decimal("1.5")),
        ("'😀é'.size()", 2),
    ],
)
def test_meaning(text, value):
    result = run(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / 0 == 1 || true", True),
        ("true || 1 / 0 == 1", True),
        ("1 / 0 == 1 && false", False),
        ("false && 1 / 0 == 1", False),
        ("!(1 / 0 == 1) && 'x' && false", False),
        ("5 || true", True),
        ("[1, 0].exists(x, 10 / x == 10)", True),
        ("[0, 1].exists(x, 10 / x == 10)", True),
        ("[0, 1].all(x, 10 / x == 9)", False),
        ("[0].exists(x, 1 / x == 1 || true)", True),
        ("{'a': 1}.b == 1 || {'a': 1}.a == 1", True),
    ],
)
def test_logic_absorbs_errors_as_cel_does(text, value):
    assert run(text) is value


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0 == 1 || false",
        "1 / 0 == 1 && true",
        "[0, 1].all(x, 10 / x == 10)",
        "[0, 2].exists(x, 10 / x == 1)",
    ],
)
def test_an_error_that_decides_stays_an_error(text):
    fails(text, "division by zero")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1 + 'a'", r"the operator \+ does not apply to int and string"),
        ("1 + true", r"the operator \+ does not apply to int and bool"),
        ("[1] < [2]", "the operator < does not apply to list and list"),
        ("1 < true", "the operator < does not apply to int and bool"),
        ("null < 1", "the operator < does not apply to null and int"),
        ("'a' > 1", "the operator > does not apply to string and int"),
        ("-'a'", "minus does not apply to a string"),
        ("!1", "expected true or false, found an int"),
        ("1 ? 2 : 3", "expected true or false"),
        ("null && true", "expected true or false, found a null"),
        ("1.0 / 3", r"not exact in its digits; write round\(a / b"),
        ("1.0 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("9223372036854775807 * 2", "integer overflow"),
        ("-(-9223372036854775808)", "integer overflow"),
        ("-9223372036854775808 / -1", "integer overflow"),
        ("abs(-9223372036854775808)", "integer overflow"),
        ("[1][1]", "element 1 does not exist"),
        ("[1][-1]", "element -1 does not exist"),
        ("[1][true]", "cannot index a list with a bool"),
        ("[1]['a']", "cannot index a list with a string"),
        ("{'a': 1}.b", "no such key: 'b'"),
        ("{'a': 1}['b']", "no such key: 'b'"),
        ("{'a': null}.a.b", "null has no field 'b'"),
        ("{1: 2}", "keys of a map must be strings"),
        ("{'a': 1, 'a': 2}", "duplicate key"),
        ("1 in 'abc'", "right side of in must be a list or a map"),
        ("'abc'.map(x, x)", "cannot iterate over a string"),
        ("[1].filter(x, x)", "expected true or false"),
        ("'a' + 1.5", "the operator \\+ does not apply to string and decimal"),
        ("1.5.minor", "a decimal has no field 'minor'"),
        ("min([])", "empty list"),
        ("sum(['a'])", "element 0 is a string"),
        ("head('x')", "look-ups are not available here"),
        ("head('x') == 1 || true", "look-ups are not available here"),
    ],
)
def test_what_has_no_value_says_why(text, match):
    fails(text, match)


def test_an_error_has_the_place_of_what_failed():
    error = fails("a.b == 1 &&\n  [1, 2].all(x, x + a.c.d > 0)", "no such key: 'd'", a={"b": 1, "c": {}})
    assert (error.line, error.column, error.length) == (2, 25, 1)
    assert str(error) == "no such key: 'd' (line 2, column 25)"
    assert error.excerpt().endswith("  [1, 2].all(x, x + a.c.d > 0)\n                        ^")
    assert fails("a.b.c", "an int has no field 'c'", a={"b": 1}).offset == 4


def test_a_missing_root_is_named():
    assert fails("1 + nothing", "the name 'nothing' is not available").column == 5


def test_money_arithmetic():
    assert run("a + a", a=USD) == Money(200, "USD")
    assert run("a - a * 3", a=USD) == Money(-200, "USD")
    assert run("3 * -a", a=USD) == Money(-300, "USD")
    assert run("a > b || a <= b", a=USD, b=Money(5, "USD")) is True
    assert run("[a.minor, size(a.currency)]", a=USD) == [100, 3]
    assert run("a == b", a=USD, b=EUR) is False
    assert run("min(a, b)", a=USD, b=Money(99, "USD")) == Money(99, "USD")
    assert run("sum([a, a, b])", a=USD, b=Money(1, "USD")) == Money(201, "USD")
    for text in ("a + b", "a - b", "a < b", "sum([a, b])", "max(a, b)"):
        error = fails(text, "USD and EUR|EUR and USD", a=USD, b=EUR)
        assert isinstance(error.__cause__, CurrencyMismatch)
    fails("a * 1.5", r"round\(amount \* factor, 'half_even'\)", a=USD)
    fails("a / 3", r"round\(amount / n", a=USD)
    fails("a + 1", r"the operator \+ does not apply to money and int", a=USD)
    fails("a * b", r"the operator \* does not apply to money and money", a=USD, b=USD)
    fails("a > 1", "the operator > does not apply to money and int", a=USD)


def test_zero_is_neutral_beside_money():
    assert run("sum([]) + a", a=USD) == USD
    assert run("a + sum([])", a=USD) == USD
    assert run("sum([]) - a", a=USD) == -USD
    assert run("sum([]) == a - a", a=USD) is True
    assert run("[a - a] == [sum([])]", a=USD) is True
    assert run("a > 0 && !(a - a > 0) && 0 < a", a=USD) is True
    assert run("a == 100", a=USD) is False


def test_round_is_exact_and_rounds_once():
    assert run("round(a * 0.125, 'half_even')", a=Money(100, "USD")) == Money(12, "USD")
    assert run("round(a * 0.125, 'half_up')", a=Money(100, "USD")) == Money(13, "USD")
    assert run("round(a / 3, 'down')", a=USD) == Money(33, "USD")
    assert run("round(a * 31 / 365, 'half_even')", a=Money(36_500, "USD")) == Money(3_100, "USD")
    assert run("round(1 / 3 * 3, 'down', 2)") == Decimal("1.00")
    assert run("round(2 / 3, 'half_up', 2)") == Decimal("0.67")
    assert run("round(2.345, 'half_even', 'USD')") == Money(234, "USD")
    assert run("round(major(a) * 0.19, 'half_up', 'JPY')", a=Money(1_000, "USD")) == Money(2, "JPY")
    assert str(run("round(1.5, 'half_even')")) == "2"
    assert str(run("round(1234, 'half_up', -2)")) == "1.2E+3"
    fails("round(a * a, 'down')", "one amount of money", a=USD)
    fails("round(3 / a, 'down')", "one amount of money", a=USD)
    fails("round(a, 'down', 2)", "own minor units", a=USD)
    fails("round(1 / 0, 'down')", "division by zero")
    fails("round(1, 'down', 99)", "-30 to 30")
    fails("round(1, r)", "not a rounding rule", r="sideways")


def test_times():
    assert run("d + days(1)", d=date(2026, 1, 31)) == date(2026, 2, 1)
    assert run("d - days(31) < d", d=date(2026, 1, 31)) is True
    assert run("d - e", d=date(2026, 2, 1), e=date(2026, 1, 1)) == timedelta(days=31)
    assert run("t + duration('90m')", t=NOON) == NOON + timedelta(minutes=90)
    assert run("t - t + duration('1s')", t=NOON) == timedelta(seconds=1)
    assert run("t == u", t=NOON, u=NOON.astimezone(timezone(timedelta(hours=3)))) is True
    assert run("days(2) * 3 - days(1)") == timedelta(days=5)
    assert run("d == t", d=NOON.date(), t=NOON) is False
    fails("d + duration('1h')", "whole days", d=date(2026, 1, 31))
    fails("d < t", "the operator < does not apply to date and timestamp", d=NOON.date(), t=NOON)
    fails("d + days(9999999)", "outside the years", d=NOON.date())
    fails("t + days(999999999)", "outside the years", t=NOON)
    fails("days(99999999999)", "number of days is too large")
    fails("t < u", "no value|without a zone", t=NOON, u=datetime(2026, 1, 1))


def test_floats_and_foreign_objects_are_no_values():
    for text in ("x + 1", "x > 1", "x == 1.5", "x == x", "min(x, x)", "string(x)", "sum([x])", "1 in [x]"):
        fails(text, "a float is not a value", x=1.5)
    fails("x == 1", "an object is not a value", x=object())


def test_subclasses_count_as_their_base():
    class Status(StrEnum):
        OPEN = "open"

    assert run(
        "s == 'open' && s + '!' == 'open!' && s in ['open'] && m[s] == 1", s=Status.OPEN, m={"open": 1}
    )
    assert run("t[1] + size(t) == 4 && t == [1, 2]", t=(1, 2)) is True


def test_work_is_bounded():
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    nested = "1"
    for letter in "abcdefghi":
        nested = f"{ten}.map({letter}, {nested})"
    with pytest.raises(BudgetExceeded):
        run(nested)
    doubling = "'x'"
    for _ in range(40):
        doubling = f"[{doubling}].map(s, s + s)[0]"
    with pytest.raises(BudgetExceeded):
        run(doubling)
    with pytest.raises(BudgetExceeded):
        run("s.replace('', s)", s="x" * 100_000)
    with pytest.raises(BudgetExceeded):
        run("l.map(x, s).join(s)", s="x" * 10_000, l=["a"] * 10_000)
    with pytest.raises(BudgetExceeded):
        run("l.all(x, !(x in l.map(y, -y)))", l=list(range(1, 5_000)))
    with pytest.raises(BudgetExceeded):
        run("l.exists(x, x.matches('(a|b|ab)*c$'))", l=["ab" * 5_000] * 5_000)
    with pytest.raises(BudgetExceeded):
        run("s.find_all('a.*b|a')", s="a" * 100_000)  # each search would read the rest of the text
    with pytest.raises(BudgetExceeded):
        compile("[1, 2, 3].map(x, x) == [] || true", budget=3)({})
    shared = "[1]"
    for _ in range(30):
        shared = f"[{shared}].map(l, [l, l])[0]"
    with pytest.raises(BudgetExceeded):
        run(f"{shared} == {shared}")
    with pytest.raises(BudgetExceeded):
        run(shared)  # small in memory, but a billion elements when expanded
    assert run("l.map(x, x.n).filter(n, n > 10).size()", l=[{"n": i} for i in range(20_000)]) == 19_989


def test_numbers_cannot_grow_without_bound():
    growing = "1.1"
    for _ in range(30):
        growing = f"[{growing}].map(d, d * d)[0]"
    fails(growing, "not exact in its digits|no result")
    fails("d + 1", "no result|not exact", d=Decimal("1E+999999"))
    fails("int(d)", "not a whole number", d=Decimal("1E+999999"))
    fails("round(d, 'down')", "too many digits", d=Decimal("1E+999999"))


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    "text",
    [
        "head('x') == 1 || true",
        "false || head('x').y == 1 || true",
        "1 / 0 == 1 || head('x') || true",
        "first({}.a, head('x'), 3)",
        "first(head('x'), 3)",
        "[1].exists(i, head('x') == i || true)",
        "[1].all(i, head('x') == i && false)",
    ],
)
@pytest.mark.parametrize("error", [LookupNeeded("head", ("x",)), Broken("x"), KeyError("x"), TypeError("x")])
def test_what_a_lookup_raises_passes_through_untouched(text, error):
    def lookup(name, args):
        raise error

    with pytest.raises(type(error)) as raised:
        compile(text)({}, lookup)
    assert raised.value is error


def test_the_cause_of_what_a_lookup_raises_is_kept():
    def lookup(name, args):
        raise Broken("no table") from OSError("disk")

    for text in ("head('x')", "{}.a == 1 || head('x')"):
        with pytest.raises(Broken) as raised:
            compile(text)({}, lookup)
        assert isinstance(raised.value.__cause__, OSError)


def test_a_lookup_is_asked_only_when_its_answer_matters():
    lookups = []
    expression = compile("a == 1 || table('t', a, 'k') == 'v'")
    assert expression({"a": 1}, lambda *call: lookups.append(call)) is True
    assert lookups == []
    assert expression({"a": 2}, lambda *call: lookups.append(call) or "v") is True
    assert lookups == [("table", ("t", 2, "k"))]
    assert compile("first(a, table('t', a))")({"a": 0}, lambda *call: lookups.append(call)) == 0
    assert (
        compile(f"first({'null, ' * 10} a, table('t', a))")({"a": 0}, lambda *call: lookups.append(call)) == 0
    )
    assert compile("a > 1 ? head('x') : a")({"a": 1}, lambda *call: lookups.append(call)) == 1
    assert len(lookups) == 1


int64s = st.integers(INT64_MIN, INT64_MAX)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6)
numbers = st.one_of(int64s, decimals)


@given(int64s, int64s, st.sampled_from("+-*/%"))
def test_integers_agree_with_exact_arithmetic_or_overflow(a, b, op):
    if op in "/%":
        quotient = Fraction(a, b).__trunc__() if b else None
        exact = None if quotient is None else quotient if op == "/" else a - b * quotient
    else:
        exact = {"+": a + b, "-": a - b, "*": a * b}[op]
    if exact is not None and INT64_MIN <= exact <= INT64_MAX:
        assert run(f"a {op} b", a=a, b=b) == exact
    else:
        fails(f"a {op} b", "overflow|division by zero", a=a, b=b)


@given(decimals, numbers, st.sampled_from("+-*"))
def test_decimals_agree_with_fractions(a, b, op):
    x, y = Fraction(a), Fraction(b)
    result = run(f"a {op} b", a=a, b=b)
    assert isinstance(result, Decimal)
    assert Fraction(result) == {"+": x + y, "-": x - y, "*": x * y}[op]


@given(numbers, numbers)
def test_order_and_equality_agree_with_fractions(a, b):
    x, y = Fraction(a), Fraction(b)
    assert run("[a < b, a <= b, a > b, a >= b, a == b, a != b]", a=a, b=b) == [
        x < y, x <= y, x > y, x >= y, x == y, x != y,
    ]  # fmt: skip


@given(
    decimals,
    decimals.filter(bool),
    st.sampled_from(["half_even", "half_up", "down", "up", "ceiling", "floor"]),
)
def test_rounded_division_is_the_exact_quotient_rounded_once(a, b, rule):
    result = run("round(a / b, r, 3)", a=a, b=b, r=rule)
    exact = Fraction(a) / Fraction(b)
    error = Fraction(result) - exact
    assert abs(error) <= (Fraction(1, 2000) if rule.startswith("half") else Fraction(1, 1000))
    if rule == "floor":
        assert error <= 0
    if rule == "ceiling":
        assert error >= 0


leaves = st.sampled_from(
    [
        "0",
        "1",
        "2.5",
        "'a'",
        "'b'",
        "null",
        "true",
        "false",
        "x",
        "y",
        "m",
        "m.minor",
        "n.k",
        "n.none",
        "l",
        "l[0]",
        "l[9]",
        "b'a'",
        "z",
    ]
)


def grow(inner):
    return st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]),
            inner,
        ),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds(
            "[{}, x].{}(i, {})".format, inner, st.sampled_from(["all", "exists", "map", "filter"]), inner
        ),
        st.builds("first({}, {})".format, inner, inner),
        st.builds("(!{})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("{{'k': {}}}.k".format, inner),
    )


@given(st.recursive(leaves, grow, max_leaves=12))
def test_direct_and_careful_code_agree(text):
    tree = parse(text)
    bindings = {"x": 1, "y": -3, "m": Money(5, "USD"), "n": {"k": Decimal("0.5")}, "l": [1, "a"], "i": 0}
    direct, careful = (Generator(careful=c).function(tree) for c in (False, True))
    try:
        result = direct(bindings, None, [10**6])
    except Exception:
        return  # the careful code decides: the tests above say what it must do
    again = careful(bindings, None, [10**6])
    assert again == result
    assert type(again) is type(result)
