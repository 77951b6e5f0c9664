"""The syntax tree of an expression, and the questions others ask of it: conjuncts, free names, paths read.

Nodes are plain frozen values with the half-open span of text they came from; nothing here evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Node(msgspec.Struct, frozen=True):
    """A piece of the tree, from character `start` up to but not including `end`."""

    start: int
    end: int


class Literal(Node, frozen=True):
    """A constant: null, bool, int, Decimal, str or bytes."""

    value: object


class Name(Node, frozen=True):
    """A root name, or the variable of a macro around it."""

    name: str


class Select(Node, frozen=True):
    """`operand.field`"""

    operand: Node
    field: str


class Has(Node, frozen=True):
    """`has(operand.field)`"""

    operand: Node
    field: str


class Index(Node, frozen=True):
    """`operand[key]`"""

    operand: Node
    key: Node


class Call(Node, frozen=True):
    """`name(args)`, or `args[0].name(args[1:])` when `method`."""

    name: str
    args: tuple[Node, ...]
    method: bool


class Unary(Node, frozen=True):
    """`!x` or `-x`"""

    op: str
    operand: Node


class Binary(Node, frozen=True):
    """Arithmetic, comparison or `in`."""

    op: str
    left: Node
    right: Node


class And(Node, frozen=True):
    """`a && b && ...`, flattened."""

    terms: tuple[Node, ...]


class Or(Node, frozen=True):
    """`a || b || ...`, flattened."""

    terms: tuple[Node, ...]


class Ternary(Node, frozen=True):
    """`condition ? yes : no`"""

    condition: Node
    yes: Node
    no: Node


class ListOf(Node, frozen=True):
    """`[a, b]`"""

    items: tuple[Node, ...]


class MapOf(Node, frozen=True):
    """`{key: value}`"""

    keys: tuple[Node, ...]
    values: tuple[Node, ...]


class Macro(Node, frozen=True):
    """`operand.kind(variable, body)`; `test` is the condition of the three-argument map."""

    kind: str
    operand: Node
    variable: str
    body: Node
    test: Node | None = None


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, in the order of the text."""
    match node:
        case Select() | Has() | Unary():
            return (node.operand,)
        case Index():
            return (node.operand, node.key)
        case Call():
            return node.args
        case Binary():
            return (node.left, node.right)
        case And() | Or():
            return node.terms
        case Ternary():
            return (node.condition, node.yes, node.no)
        case ListOf():
            return node.items
        case MapOf():
            return node.keys + node.values
        case Macro():
            return (node.operand, node.body) if node.test is None else (node.operand, node.test, node.body)
    return ()


def emphasis(node: Node, text: str) -> tuple[int, int]:
    """The span to underline for a problem with this node: of a selection, the field alone."""
    if isinstance(node, Select) and text[: node.end].endswith(node.field):
        return node.end - len(node.field), node.end
    return node.start, node.end


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree, without recursion."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


def conjuncts(node: Node) -> list[Node]:
    """The terms that must all be true for `node` to be true; the node itself when it is no conjunction."""
    return list(node.terms) if isinstance(node, And) else [node]


def dotted(node: Node) -> tuple[str, ...] | None:
    """`a.b['c']` as ('a', 'b', 'c'); None when the node is not a plain path from a name."""
    parts: list[str] = []
    while True:
        match node:
            case Select():
                parts.append(node.field)
                node = node.operand
            case Index(key=Literal(value=str(key))):
                parts.append(key)
                node = node.operand
            case Name():
                parts.append(node.name)
                return tuple(reversed(parts))
            case _:
                return None


def reads(node: Node) -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """The free root names, and the longest paths below them that the expression reads."""
    names: set[str] = set()
    paths: set[tuple[str, ...]] = set()
    stack: list[tuple[Node, frozenset[str]]] = [(node, frozenset())]
    while stack:
        current, bound = stack.pop()
        path = dotted(current)
        if isinstance(current, Has):
            below = dotted(current.operand)
            path = (*below, current.field) if below else None
        if path is not None:
            if path[0] not in bound:
                names.add(path[0])
                paths.add(path)
        elif isinstance(current, Macro):
            stack.append((current.operand, bound))
            inner = bound | {current.variable}
            stack.extend((part, inner) for part in (current.test, current.body) if part is not None)
        else:
            stack.extend((child, bound) for child in children(current))
    return frozenset(names), frozenset(paths)
