"""No test may take the time while it is imported: the suite then runs for minutes, perhaps past midnight."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.source import ROOT

CLOCKS = {"now", "utcnow", "today", "time", "monotonic"}


def times_at_import(text: str) -> list[int]:
    """Lines that read a clock when the module is imported: default values and decorators of functions too."""
    return [
        node.lineno
        for node in _run_at_import(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and isinstance(node.func.value, ast.Name | ast.Attribute)
    ]


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    later = node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else []
    bodies = {id(part) for part in (later if isinstance(later, list) else [later])}
    for child in ast.iter_child_nodes(node):
        if id(child) not in bodies:
            yield from _run_at_import(child)


def test_no_test_reads_a_clock_at_import() -> None:
    assert [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for line in times_at_import(file.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("NOW = datetime.now(UTC)", [1]),
        ("class Day:\n    today = datetime.date.today()", [2]),
        ("def f(at=time.time()): ...", [1]),
        ("@mark.parametrize('at', [datetime.now(UTC)])\ndef f(at): ...", [1]),
        ("def f():\n    return datetime.now(UTC)", []),
        ("later = lambda: datetime.now(UTC)", []),
        ("at = time(9, 0)", []),
    ],
)
def test_a_planted_clock_is_found(text: str, lines: list[int]) -> None:
    assert times_at_import(text) == lines
