"""Counts in messages have their noun in the right number: an f-string has no `{count} rows`, but `counted`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "counterfoil"
PLURAL = re.compile(
    r" (listed )?(rows|documents|records|items|runs|Runs|times|differences|deliveries|matches|pairs|lines|entries|counterfoils)\b"
)
NEVER_ONE = ("MAX_", "bounds.", "places", "rows:,", "differing", "self._joined", "position", "repeated + 1")
"""Parts of counts that are large wherever the message is written, and of names."""


def plurals(source: str) -> Iterator[str]:
    """Yield counts of a source with a fixed plural after them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(value, ast.FormattedValue)
                    and isinstance(text, ast.Constant)
                    and PLURAL.match(str(text.value))
                    and not any(part in ast.unparse(value) for part in NEVER_ONE)
                ):
                    yield ast.unparse(node)


@pytest.mark.parametrize("folder", ["cli", "flow", "reconcile", "web", "change", "replay"])
def test_counts_have_their_noun_in_the_right_number(folder: str) -> None:
    texts = [text for path in (SOURCES / folder).rglob("*.py") for text in plurals(path.read_text("utf-8"))]
    assert texts == []


def test_a_fixed_plural_is_noticed() -> None:
    assert list(plurals('say(f"{n} rows differ")')) == ["f'{n} rows differ'"]
    assert list(plurals("say(f\"{counted(n, 'row')} of {name} and {MAX_ROWS} rows\")")) == []
