"""Look-ups of rows that a formula cannot do without, and the message about a row that is missing.

A table without a row gives null. `first` and the comparisons expect it, and so does the place of the whole formula, which
decides by itself. Everywhere else null is an error, which is more useful if it names the table and the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.money import Money
from counterfoil.expr import tree as t

ROW_LOOKUPS = frozenset({"table", "fx"})
"""Look-ups that are null where a table has no row."""


def missing_row(name: str, args: tuple[Any, ...]) -> str:
    """Return the message about the row that a look-up did not find."""
    if name == "fx":
        amount, currency = args[:2]
        source = amount.currency if isinstance(amount, Money) else amount
        return f"the table fx has no row for {source}/{currency}"
    table, *keys = args
    return f"the table {table} has no row for {', '.join(map(str, keys))}"


def deciding_nodes(tree: t.ExprNode) -> Iterator[t.ExprNode]:
    """Yield the parts of a formula whose null is the null of the whole.

    A branch is one, and the last choice of `first`. A formula that says `null` there has no value by its own will.
    """
    match tree:
        case t.TernaryNode():
            yield from deciding_nodes(tree.yes)
            yield from deciding_nodes(tree.no)
        case t.CallNode(name="first" | "dyn", method=False):
            yield from deciding_nodes(tree.args[-1])
        case _:
            yield tree


def decides(tree: t.ExprNode, name: str, args: tuple[Any, ...]) -> bool:
    """Return True if a look-up that found no row may be the reason why a formula is null."""
    for node in deciding_nodes(tree):
        if isinstance(node, t.CallNode) and node.name == name:
            table = node.args[0]
            if name == "fx" or not isinstance(table, t.LiteralNode) or table.value == args[0]:
                return True
    return False


def required_rows(tree: t.ExprNode) -> frozenset[int]:
    """Return where the look-ups begin whose null would be an error at once, or hidden in a list or map."""
    return frozenset(_required(tree, False))


def _required(node: t.ExprNode, required: bool) -> Iterator[int]:
    """Yield the required look-ups of a node; `required` says whether its own value must not be null."""
    match node:
        case t.CallNode(name="first", method=False):
            for choice in node.args[:-1]:
                yield from _required(choice, False)
            yield from _required(node.args[-1], required)
        case t.CallNode(name="dyn", method=False):
            for part in node.args:
                yield from _required(part, required)
        case t.TernaryNode():
            yield from _required(node.condition, True)
            yield from _required(node.yes, required)
            yield from _required(node.no, required)
        case t.BinaryNode(op="==" | "!="):
            yield from _required(node.left, False)
            yield from _required(node.right, False)
        case t.BinaryNode(op="in"):
            yield from _required(node.left, False)
            yield from _required(node.right, True)
        case t.SelectNode() | t.HasNode():
            yield from _required(node.operand, False)
        case t.IndexNode():
            yield from _required(node.operand, False)
            yield from _required(node.key, True)
        case _:
            if required and isinstance(node, t.CallNode) and node.name in ROW_LOOKUPS:
                yield node.start
            for part in t.children(node):
                yield from _required(part, True)
