"""Every example of the reference page is true, and the page names every function."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.core.money import Money
from counterfoil.expr import FUNCTIONS, compile
from counterfoil.expr.parse import MAX_NESTING_DEPTH, MAX_TERMS, MAX_TEXT_CHARACTERS, MAX_TREE_DEPTH

PAGE = (Path(__file__).parents[3] / "docs/reference/expressions.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().strip("`").replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
EXAMPLES = [row[-2:] for row in ROWS if len(row) in (2, 4)]
ANSWERS = {
    "xref": 42,
    "canon": "cust_7",
    "link": "cust_7",
    "table": "4000",
    "head": {"applied": Money(0, "USD")},
    "fx": Money(90, "EUR"),
    "cutoff": datetime(2026, 2, 5, tzinfo=UTC),
    "period": "2026-01",
}


@pytest.mark.parametrize(("text", "result"), EXAMPLES, ids=[text for text, _ in EXAMPLES])
def test_documented_example(text, result):
    expected = compile(result)({})
    value = compile(text)({}, lambda name, args: ANSWERS[name])
    assert value == expected
    assert type(value) is type(expected)


def test_every_function_is_documented_with_an_example():
    documented = {row[0]: row[2] for row in ROWS if len(row) == 4}
    assert documented.keys() == FUNCTIONS.keys()
    assert [name for name, example in documented.items() if f"{name}(" not in example] == []


def test_documented_limits_are_the_limits():
    for limit in (
        f"{MAX_TEXT_CHARACTERS:,} characters",
        f"{MAX_TERMS:,} terms",
        f"{MAX_NESTING_DEPTH} deep",
        f"{MAX_TREE_DEPTH} deep",
    ):
        assert limit in PAGE
