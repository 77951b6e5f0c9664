"""Look-ups of tables in formulas: a value for each column of the key, perhaps a date, and a row for constant values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from counterfoil.core.finding import Finding, Severity, did_you_mean
from counterfoil.expr import ExpressionError, walk
from counterfoil.expr import tree as t
from counterfoil.expr.parse import parse
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.tables import key_text

_NOT_EVALUATED = ("table", "test", "pattern", "overlay")
"""Kinds whose documents hold no formula of the place: what an overlay or a pattern says is checked where it applies."""


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


@rule("unknown-row")
def unknown_row(model: Model) -> Iterator[Finding]:
    """`table(name, ...)` with constant values of the key has a row of the table, in every region and legal entity.

    Without a row it is null, and a comparison takes the other branch. If that is meant, `first(table(...), ...)` or a
    comparison with null says so. A row only in overlays of other places makes it a warning.
    """
    tables = model.of_kind(kinds.Table)
    for document in model.documents:
        if document.kind in _NOT_EVALUATED:
            continue
        for path, call in _calls(document.data, (), without_default=True):
            name, *keys = call.args
            table = tables.get(str(name.value)) if isinstance(name, t.LiteralNode) else None
            constants = _constants(table, keys) if table is not None else {}
            if table is None or not constants or _has_row(table.rows or [], constants):
                continue
            values = ", ".join(f"{column} `{value}`" for column, value in constants.items())
            message = f"the table `{table.name}` has no row for {values}, so the formula reads null"
            elsewhere = any(_has_row(rows, constants) for rows in _overlaid_rows(model, table.name))
            severity: Severity = "warning" if elsewhere else "error"
            yield document.finding(
                "unknown-row", message, path, severity=severity, fix=_fix(table, constants)
            )


def _constants(table: kinds.Table, keys: Sequence[t.ExprNode]) -> dict[str, str]:
    """Return the constant values of the key, by column."""
    pairs = zip(table.key, keys, strict=False)
    return {
        column: key_text(key.value)
        for column, key in pairs
        if isinstance(key, t.LiteralNode) and key.value is not None
    }


def _has_row(rows: Sequence[Mapping[str, Any]], constants: Mapping[str, str]) -> bool:
    return any(
        all(column in row and key_text(row[column]) == value for column, value in constants.items())
        for row in rows
    )


def _overlaid_rows(model: Model, table: str) -> Iterator[list[Any]]:
    """Yield the rows that overlays of regions and legal entities give a table."""
    for _, overlay in model.documents_of(kinds.Overlay):
        for change in overlay.changes:
            rows = change.set.get("rows")
            if (change.kind, change.name) == ("table", table) and isinstance(rows, list):
                yield [row for row in rows if isinstance(row, dict)]


def _fix(table: kinds.Table, constants: Mapping[str, str]) -> str:
    otherwise = "add the row, or state what counts without one: first(table(...), ...)"
    for column, value in constants.items():
        values = {key_text(row[column]) for row in table.rows or [] if column in row}
        if value not in values:
            return did_you_mean(value, values, otherwise)
    return otherwise


def _calls(value: Any, path: Path, without_default: bool = False) -> Iterator[tuple[Path, t.CallNode]]:
    """Yield the look-ups of tables below a value; with `without_default`, those for which no formula expects null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("doc", "rows"):
                yield from _calls(inner, (*path, key), without_default)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _calls(inner, (*path, place), without_default)
    elif isinstance(value, str) and "table(" in value:
        try:
            tree = parse(value.removeprefix("="))
        except ExpressionError:
            return  # another rule names the fault
        nodes = list(walk(tree))
        expected = {place for node in nodes for place in _may_be_null(node)} if without_default else set()
        for node in nodes:
            if (
                isinstance(node, t.CallNode)
                and node.name == "table"
                and not node.method
                and node.start not in expected
            ):
                yield path, node


def _may_be_null(node: t.ExprNode) -> Iterator[int]:
    """Yield where the operands begin whose null a node expects: in `first(x, y)`, and in a comparison with null."""
    match node:
        case t.CallNode(name="first", method=False):
            yield from (operand.start for operand in node.args[:-1])
        case t.BinaryNode(op="==" | "!=", left=left, right=t.LiteralNode(value=None)):
            yield left.start
        case t.BinaryNode(op="==" | "!=", left=t.LiteralNode(value=None), right=right):
            yield right.start
