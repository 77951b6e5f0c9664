"""Syntax tree of an expression, and its conjuncts, free names and field paths.

Nodes are frozen values with the half-open span of their text. Nothing here evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class ExprNode(msgspec.Struct, frozen=True):
    """Node of the tree, from character `start` up to but not including `end`."""

    start: int
    end: int


class LiteralNode(ExprNode, frozen=True):
    """A constant: null, bool, int, Decimal, str or bytes."""

    value: object


class NameNode(ExprNode, frozen=True):
    """A root name, or the variable of an enclosing macro."""

    name: str


class SelectNode(ExprNode, frozen=True):
    """`operand.field`"""

    operand: ExprNode
    field: str


class HasNode(ExprNode, frozen=True):
    """`has(operand.field)`"""

    operand: ExprNode
    field: str


class IndexNode(ExprNode, frozen=True):
    """`operand[key]`"""

    operand: ExprNode
    key: ExprNode


class CallNode(ExprNode, frozen=True):
    """`name(args)`, or `args[0].name(args[1:])` when `method`."""

    name: str
    args: tuple[ExprNode, ...]
    method: bool


class UnaryNode(ExprNode, frozen=True):
    """`!x` or `-x`"""

    op: str
    operand: ExprNode


class BinaryNode(ExprNode, frozen=True):
    """Arithmetic, comparison or `in`."""

    op: str
    left: ExprNode
    right: ExprNode


class AndNode(ExprNode, frozen=True):
    """`a && b && ...`, flattened."""

    terms: tuple[ExprNode, ...]


class OrNode(ExprNode, frozen=True):
    """`a || b || ...`, flattened."""

    terms: tuple[ExprNode, ...]


class TernaryNode(ExprNode, frozen=True):
    """`condition ? yes : no`"""

    condition: ExprNode
    yes: ExprNode
    no: ExprNode


class ListNode(ExprNode, frozen=True):
    """`[a, b]`"""

    items: tuple[ExprNode, ...]


class MapNode(ExprNode, frozen=True):
    """`{key: value}`"""

    keys: tuple[ExprNode, ...]
    values: tuple[ExprNode, ...]


class MacroNode(ExprNode, frozen=True):
    """`operand.kind(variable, body)`; `test` is the condition of the three-argument map."""

    kind: str
    operand: ExprNode
    variable: str
    body: ExprNode
    test: ExprNode | None = None


def children(node: ExprNode) -> tuple[ExprNode, ...]:
    """Return the direct child nodes in the order of the text."""
    match node:
        case SelectNode() | HasNode() | UnaryNode():
            return (node.operand,)
        case IndexNode():
            return (node.operand, node.key)
        case CallNode():
            return node.args
        case BinaryNode():
            return (node.left, node.right)
        case AndNode() | OrNode():
            return node.terms
        case TernaryNode():
            return (node.condition, node.yes, node.no)
        case ListNode():
            return node.items
        case MapNode():
            return node.keys + node.values
        case MacroNode():
            return (node.operand, node.body) if node.test is None else (node.operand, node.test, node.body)
    return ()


def highlight_span(node: ExprNode, text: str) -> tuple[int, int]:
    """Return the span to underline for a problem with this node; of a selection, the field only."""
    if isinstance(node, SelectNode) and text[: node.end].endswith(node.field):
        return node.end - len(node.field), node.end
    return node.start, node.end


def walk(node: ExprNode) -> Iterator[ExprNode]:
    """Yield every node of the tree, without recursion."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


def conjuncts(node: ExprNode) -> list[ExprNode]:
    """Return the terms that must all be true for `node` to be true; the node itself if it is no conjunction."""
    return list(node.terms) if isinstance(node, AndNode) else [node]


def dotted_path(node: ExprNode) -> tuple[str, ...] | None:
    """Return `a.b['c']` as ('a', 'b', 'c'); None if the node is not a plain path from a name."""
    parts: list[str] = []
    while True:
        match node:
            case SelectNode():
                parts.append(node.field)
                node = node.operand
            case IndexNode(key=LiteralNode(value=str(key))):
                parts.append(key)
                node = node.operand
            case NameNode():
                parts.append(node.name)
                return tuple(reversed(parts))
            case _:
                return None


def names_and_paths(node: ExprNode) -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """Return the free root names, and the longest paths below them that the expression reads."""
    names: set[str] = set()
    paths: set[tuple[str, ...]] = set()
    stack: list[tuple[ExprNode, frozenset[str]]] = [(node, frozenset())]
    while stack:
        current, bound = stack.pop()
        path = dotted_path(current)
        if isinstance(current, HasNode):
            below = dotted_path(current.operand)
            path = (*below, current.field) if below else None
        if path is not None:
            if path[0] not in bound:
                names.add(path[0])
                paths.add(path)
        elif isinstance(current, MacroNode):
            stack.append((current.operand, bound))
            inner = bound | {current.variable}
            stack.extend((part, inner) for part in (current.test, current.body) if part is not None)
        else:
            stack.extend((child, bound) for child in children(current))
    return frozenset(names), frozenset(paths)
