"""Tables that may have no row for a value of the input, and the calls that cannot be rendered then.

Requests are not rendered in a proof: its values are made up. Whether a mapping needs a row is read from its formulas.
"""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.expr import Expression, walk
from counterfoil.expr import tree as t
from counterfoil.model import Model
from counterfoil.model.definition import Definition, OutboundMapping
from counterfoil.rules.mapping import known_mapping
from counterfoil.rules.templates import expressions_of
from counterfoil.rules.workflow import commands as c


class TableMisses:
    """Finds the calls of one workflow that need a row of a table whose key is not written in the mapping."""

    def __init__(self, model: Model, definition: Definition) -> None:
        self._outbound = {name: model.outbound(name) for name in definition.operations}
        used = {table for mapping in self._outbound.values() for table in _tables(mapping)}
        self.tables = tuple(sorted(used & model.tables.keys()))

    def unrendered(self, decision: c.Decision, rowless: frozenset[str]) -> dict[str, c.Unrendered]:
        """Return the calls of a decision that cannot be rendered, planned ones by effect and later ones by name."""
        result = {}
        for command in decision.commands:
            if isinstance(command, c.PlanEffect):
                result[command.effect] = _first(_tables(self._outbound.get(command.operation)), rowless)
        for call in decision.ahead:
            mapping = self._outbound.get(call.operation)
            part = None if mapping is None else known_mapping(mapping, call.unknown, call.links)
            result[call.name] = _first(_tables(part), rowless)
        return {
            name: c.Unrendered(message=f"the table {table} has no row for this input")
            for name, table in result.items()
            if table
        }


def _first(tables: Iterator[str], rowless: frozenset[str]) -> str:
    return next((table for table in tables if table in rowless), "")


def _tables(mapping: OutboundMapping | None) -> Iterator[str]:
    """Yield the tables without whose row a request cannot be rendered."""
    if mapping is None:
        return
    lets = {name: list(_needed(e.ast)) for name, e in mapping.let}
    for expression in expressions_of(mapping.input):
        yield from _needed(expression.ast)
        yield from _of_lets(expression, lets)


def _of_lets(expression: Expression, lets: dict[str, list[str]]) -> Iterator[str]:
    for name in sorted(expression.names & lets.keys()):
        yield from lets[name]


def _needed(node: t.ExprNode) -> Iterator[str]:
    if isinstance(node, t.CallNode) and node.name == "first":
        if all(_calls_table(choice) for choice in node.args):
            yield from _needed(node.args[-1])
        return
    if isinstance(node, t.CallNode) and node.name == "table":
        table, *keys = node.args
        if isinstance(table, t.LiteralNode) and not all(isinstance(key, t.LiteralNode) for key in keys):
            yield str(table.value)
    for part in t.children(node):
        yield from _needed(part)


def _calls_table(node: t.ExprNode) -> bool:
    return any(isinstance(part, t.CallNode) and part.name == "table" for part in walk(node))
