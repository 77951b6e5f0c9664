"""Look-ups of tables in formulas: as many values as the key has columns, and perhaps a date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.expr import ExpressionError, walk
from counterfoil.expr import tree as t
from counterfoil.expr.parse import parse
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model
from counterfoil.model.source import Path


@rule("table-key")
def table_key(model: Model) -> Iterator[Finding]:
    """`table(name, ...)` has a value for each key column of the table, in their order. A date may follow: its row counts."""
    tables = model.of_kind(kinds.Table)
    for document in model.documents:
        if document.kind in ("table", "test"):
            continue
        for path, call in _calls(document.data, ()):
            name, *keys = call.args
            table = tables.get(str(name.value)) if isinstance(name, t.LiteralNode) else None
            if table is None or len(table.key) <= len(keys) <= len(table.key) + 1:
                continue
            columns = ", ".join(table.key)
            message = (
                f"the key of the table `{table.name}` is {columns}, and the formula gives {len(keys)} values"
            )
            fix = f"give a value for each of: {columns}; a date may follow"
            yield document.finding("table-key", message, path, fix=fix)


def _calls(value: Any, path: Path) -> Iterator[tuple[Path, t.CallNode]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("doc", "rows"):
                yield from _calls(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _calls(inner, (*path, place))
    elif isinstance(value, str) and "table(" in value:
        try:
            tree = parse(value.removeprefix("="))
        except ExpressionError:
            return  # another rule names the fault
        for node in walk(tree):
            if isinstance(node, t.CallNode) and node.name == "table" and not node.method:
                yield path, node
