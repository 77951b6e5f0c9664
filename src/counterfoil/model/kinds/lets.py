"""Named formulas of a document, written out where other formulas read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from counterfoil.expr import ExpressionError
from counterfoil.expr import tree as t
from counterfoil.expr.parse import parse

MAX_LENGTH = 20_000
"""Length of a formula. One that would be longer stays as it is, so that `check` reports its names."""


def written_out(lets: Mapping[str, str]) -> dict[str, str]:
    """Return lets that read no other let. One of a cycle still reads it, and `check` reports the name."""
    whole: dict[str, str] = {}
    pending = dict(lets)
    while pending:
        ready = [name for name, text in pending.items() if pending.keys().isdisjoint(names_of(text))]
        if not ready:
            return whole
        for name in ready:
            whole[name] = expand(pending.pop(name), whole)
    return whole


def expand(formula: str, lets: Mapping[str, str]) -> str:
    """Return a formula with each let that it reads in brackets instead of its name."""
    text = formula.removeprefix("=")
    parts: list[str] = []
    end = 0
    for node in sorted(_names(text), key=lambda node: node.start):
        if node.name in lets:
            parts += [text[end : node.start], f"({lets[node.name].removeprefix('=')})"]
            end = node.end
    longer = "".join([*parts, text[end:]])
    return longer if parts and len(longer) <= MAX_LENGTH else formula


def names_of(formula: str) -> frozenset[str]:
    """Return the free names of a formula; none if it does not parse."""
    return frozenset(node.name for node in _names(formula.removeprefix("=")))


def _names(text: str) -> Iterator[t.NameNode]:
    """Yield where a formula reads names that no macro binds."""
    try:
        stack: list[tuple[t.ExprNode, frozenset[str]]] = [(parse(text), frozenset())]
    except ExpressionError:
        return
    while stack:
        node, bound = stack.pop()
        if isinstance(node, t.NameNode):
            if node.name not in bound:
                yield node
        elif isinstance(node, t.MacroNode):
            inner = bound | {node.variable}
            stack.append((node.operand, bound))
            stack.extend((part, inner) for part in (node.test, node.body) if part is not None)
        else:
            stack.extend((part, bound) for part in t.children(node))
