"""Syntax, positions of errors, and malicious text."""

import contextlib
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money import Money
from counterfoil.expr import EvaluationError, ExpressionError, compile
from counterfoil.expr.parse import MAX_NESTING_DEPTH, MAX_TERMS, MAX_TEXT_CHARACTERS, MAX_TREE_DEPTH, parse
from counterfoil.expr.tree import names_and_paths


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("100 / 10 / 5", 2),
        ("-2 * -3", 6),
        ("- -2", 2),
        ("!!true", True),
        ("!true || true", True),
        ("1 < 2 && 2 < 3 || false", True),
        ("false && false || true", True),
        ("true ? 1 : false ? 2 : 3", 1),
        ("false ? 1 : false ? 2 : 3", 3),
        ("true ? false ? 1 : 2 : 3", 2),
        ("1 + 1 == 2 ? 'a' + 'b' : 'c'", "ab"),
        ("0x1F", 31),
        ("-0x10", -16),
        ("7u", 7),
        ("-9223372036854775808", -(2**63)),
        ("1.50", Decimal("1.50")),
        (".5 + 1e2", Decimal("100.5")),
        ("-1.5e-3", Decimal("-0.0015")),
        ("'a\\'b' + \"c\\\"d\"", "a'bc\"d"),
        ("r'a\\nb'", "a\\nb"),
        ("'\\x41\\u00e9\\U0001F600\\101\\t'", "Aé😀A\t"),
        ("'''a'b\nc'''", "a'b\nc"),
        ('"""x"y"""', 'x"y'),
        ("b'\\xff\\101é'", b"\xffA\xc3\xa9"),
        ("rb'\\x'", b"\\x"),
        ("''", ""),
        ("[1, 2,]", [1, 2]),
        ("[]", []),
        ("{'a': 1, 'b': [2],}", {"a": 1, "b": [2]}),
        ("{}", {}),
        ("1 // a comment\n + 1", 2),
        ("{'package': {'for': 1}}.package.for", 1),
        ("null", None),
    ],
)
def test_syntax(text, value):
    result = compile(text)({})
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "found the end of the expression", 1, 1),
        ("1 +", "found the end of the expression", 1, 4),
        ("a = b", "use == to compare", 1, 3),
        ("a & b", "use && for and", 1, 3),
        ("a | b", "use || for or", 1, 3),
        ("a == 'b", "is not closed", 1, 6),
        ("a\n  ==\n  ]", "expected a value", 3, 3),
        ("(a", "expected ')'", 1, 3),
        ("a b", "expected the end", 1, 3),
        ("a ? b", "expected ':'", 1, 6),
        ("a.1", "expected the end", 1, 2),
        ("a.+", "expected a field name", 1, 3),
        ("12ab", "follows a number", 1, 1),
        ("9223372036854775808", "does not fit 64 bits", 1, 1),
        ("99999999999999999999999999", "does not fit 64 bits", 1, 1),
        ("1e999", "60 digits", 1, 1),
        ("if", "reserved word", 1, 1),
        ("Money{minor: 1}", "write a map", 1, 6),
        ("has(a)", "has() takes one field selection", 1, 1),
        ("x.all(1, true)", "plain variable name", 1, 3),
        ("x.all(y)", "all takes 2 arguments", 1, 3),
        ("'\\q'", "not a valid escape", 1, 1),
        ("'\\ud800'", "not a valid escape", 1, 1),
        ("b'\\u0041'", "not \\u", 1, 1),
        ("a; b", "has no statements", 1, 2),
        ("nofn(1)", "there is no function 'nofn'", 1, 1),
        ("1 + uperAscii('a')", "did you mean 'upperAscii'", 1, 5),
        ("upperAscii('a')", "call upperAscii as x.upperAscii(...)", 1, 1),
        ("'a'.minor('USD')", "call minor as minor(x, ...)", 1, 1),
        ("minor(1)", "takes 2 arguments", 1, 1),
        ("all([true], x, x)", "is a macro", 1, 1),
        ("double('1')", "use decimal()", 1, 1),
        ("'a'.matches('(')", "bad pattern", 1, 13),
        ("'a'.find_all('(')", "bad pattern", 1, 14),
        ("round(1.5, 'nearest')", "not a rounding rule", 1, 12),
    ],
)
def test_what_is_wrong_is_found_with_its_place(text, message, line, column):
    with pytest.raises(ExpressionError) as error:
        compile(text)
    finding = error.value.findings[0]
    assert message in finding.message
    assert (finding.line, finding.column) == (line, column)
    assert "^" in str(error.value)


def test_all_findings_come_at_once_in_the_order_of_the_text():
    with pytest.raises(ExpressionError) as error:
        compile("nofn(1) + minor(2) +\n double(3)")
    assert [(f.rule, f.line, f.column) for f in error.value.findings] == [
        ("function", 1, 1),
        ("function", 1, 11),
        ("function", 2, 2),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 100_000 + "1" + ")" * 100_000,
        "(" * 9_000 + "1" + ")" * 9_000,
        "[" * 5_000,
        "{'a':" * 3_000,
        "-" * 15_000 + "1",
        "!" * 15_000 + "true",
        "+".join(["1"] * 100_000),
        "+".join(["1"] * 900),
        "&&".join(["true"] * 100_000),
        "a" + ".b" * 900,
        "a" + "[0]" * 900,
        "true ? " * 2_000 + "1",
        "1" + " ? 1 : 1" * 2_000,
        "f(" * 5_000,
        "[1]" + ".map(x, x" * 1_000,
        "'" + "a" * 1_000_000 + "'",
        "'" * 19_999,
        '"""' + "\\" * 19_000,
        "9" * 19_000,
        "1e" + "9" * 19_000,
        " " * 1_000_000,
        "/" * 19_000,
        "\x00",
        "\ud800",
    ],
)
def test_hostile_text_is_refused_at_once_with_a_place(text):
    began = time.perf_counter()
    with pytest.raises(ExpressionError) as error:
        compile(text)
    assert error.value.findings[0].line >= 1
    assert len(str(error.value)) < 2_000
    assert time.perf_counter() - began < 30  # not a benchmark: a hang is the failure


def test_what_just_fits_compiles_and_runs():
    assert compile("(" * (MAX_NESTING_DEPTH - 1) + "1" + ")" * (MAX_NESTING_DEPTH - 1))({}) == 1
    assert compile("+".join(["1"] * (MAX_TREE_DEPTH - 1)))({}) == MAX_TREE_DEPTH - 1
    assert compile(" && ".join(["true"] * (MAX_TERMS // 2)))({}) is True
    assert compile("'" + "a" * (MAX_TEXT_CHARACTERS - 2) + "'")({}) == "a" * (MAX_TEXT_CHARACTERS - 2)
    nested = "1"
    for _ in range(MAX_NESTING_DEPTH - 2):
        nested = f"[{nested}].map(x, x)[0]" if len(nested) < 400 else f"({nested})"
    assert compile(nested)({}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a.__class__",
        "a.__class__.__mro__[1].__subclasses__",
        "''.__class__",
        "a['__class__']",
        "m.__class__",
        "m.minor.real",
        "m._same",
        "a.items",
        "[].append",
        "d.year",
        "f.__globals__",
    ],
)
def test_selection_never_reaches_python_attributes(text):
    with pytest.raises(EvaluationError, match=r"no such key|no field"):
        compile(text)({"a": {"b": 1}, "m": Money(1, "USD"), "d": Decimal(1), "f": [1]})


@pytest.mark.parametrize(
    "text", ["''.format('x')", "a.items()", "a.__class__()", "__import__('os')", "eval('1')"]
)
def test_python_methods_are_no_functions(text):
    with pytest.raises(ExpressionError) as error:
        compile(text)
    assert error.value.findings[0].rule == "function"


def test_names_of_generated_code_are_out_of_reach():
    for name in ("bindings", "lookup", "budget", "Money", "type", "t1", "v1", "k0", "f_minor", "scalars"):
        with pytest.raises(EvaluationError, match="is not available here"):
            compile(f"{name} == 1.5 && [1].all(x, x > 0)")({})
        assert compile(f"{name} + [2].map(z, z + {name})[0]")({name: 3}) == 8


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused_with_a_place(text):
    try:
        parse(text)
    except ExpressionError as error:
        (finding,) = error.findings
        assert 0 <= finding.offset <= len(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                ".",
                "(",
                ")",
                "[",
                "]",
                "{",
                "}",
                ",",
                ":",
                "?",
                "!",
                "-",
                "+",
                "*",
                "&&",
                "||",
                "==",
                "<",
                "in",
                "1",
                "1.5",
                "'x'",
                "has",
                "map",
                "null",
                "x.all(",
                "",
            ]
        ),
        max_size=25,
    )
)
def test_any_tokens_compile_or_are_refused(tokens):
    with contextlib.suppress(ExpressionError):
        assert compile(" ".join(tokens)).ast is not None


def test_names_and_paths_that_are_read():
    text = "event.data.amount > inv.open && has(a.b.c) && lines.all(l, l.x == root && l.y[0] > q['r'].s) && xref('c', e.f)"
    expression = compile(text)
    assert expression.names == {"event", "inv", "a", "lines", "root", "q", "e"}
    assert expression.paths == {"event.data.amount", "inv.open", "a.b.c", "lines", "root", "q.r.s", "e.f"}
    assert expression.lookup_calls == {"xref"}
    assert names_and_paths(parse("[a].map(a, a.b)")) == ({"a"}, {("a",)})
