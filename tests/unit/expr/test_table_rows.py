"""A row that a table lacks is named where a formula cannot do without it, and is null where the formula expects that."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.money import Money
from counterfoil.expr import EvaluationError, compile


def lookup(name: str, args: tuple[Any, ...]) -> Any:
    return "0.9" if args == ("rates", "USD/EUR") else None


def value(text: str) -> Any:
    return compile(text)({"pair": "JPY/EUR", "yen": Money(5, "JPY"), "list": ["JPY/EUR"]}, lookup)


@pytest.mark.parametrize(
    "text",
    [
        "decimal(table('rates', pair))",
        "round(1 / decimal(table('rates', pair)), 'half_even', 0)",
        "table('rates', pair) + '0'",
        "table('rates', pair) > '0'",
        "table('rates', pair).startsWith('0')",
        "decimal(pair == 'JPY/EUR' ? table('rates', pair) : '1')",
        "decimal(first(table('rates', 'x'), table('rates', pair)))",
        "table('allowed', table('rates', pair))",
        "table('rates', pair) ? 1 : 2",
        "[table('rates', pair)]",
        "{'rate': table('rates', pair)}",
        "list.map(p, {'rate': table('rates', p)})",
        "list.map(p, table('rates', p))",
    ],
)
def test_a_row_that_a_formula_needs_is_named(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"^the table rates has no row for JPY/EUR "):
        value(text)


def test_a_missing_rate_is_named_by_its_pair() -> None:
    with pytest.raises(EvaluationError, match=r"^the table fx has no row for JPY/EUR "):
        value("fx(yen, 'EUR') * 2")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("table('rates', pair)", None),
        ("decimal(table('rates', 'USD/EUR')) < 1", True),
        ("table('rates', pair) == null", True),
        ("table('rates', pair) == '0.9'", False),
        ("first(table('rates', pair), '1')", "1"),
        ("decimal(first(table('rates', pair), '1')) + 0", 1),
        ("[first(table('rates', pair), null)]", [None]),
        ("first(table('rates', pair).name, 'x')", "x"),
        ("pair == 'x' ? decimal(table('rates', pair)) : 0", 0),
        ("table('rates', pair) in ['0.9']", False),
        ("dyn(table('rates', pair)) == null", True),
        ("list.filter(p, table('rates', p) != null)", []),
    ],
)
def test_where_null_is_expected_it_stays_null(text: str, result: Any) -> None:
    assert value(text) == result
